"use strict";
// Without this script the page still shows every picture, score and curve; it adds the wipe
// between render and photo, and pictures at 1:1.
(function () {
  const names = document.body.dataset.pictures.split("|");

  function element(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text) node.textContent = text;
    return node;
  }

  function copy(image, className) {
    const node = element("img", className);
    node.src = image.src;
    node.alt = image.alt;
    node.width = image.width;
    node.height = image.height;
    node.draggable = false;
    return node;
  }

  function addWipe(photo) {
    const images = photo.querySelectorAll(".triptych img");
    const wipe = element("div", "wipe");
    const slider = element("input");
    slider.type = "range";
    slider.min = 0;
    slider.max = 100;
    slider.step = 0.1;
    slider.value = 50;
    slider.setAttribute("aria-label", "Wipe between " + names[0] + " (left) and " + names[1] + " (right)");
    function move() {
      wipe.style.setProperty("--at", slider.value + "%");
      slider.setAttribute("aria-valuetext", Math.round(slider.value) + "% " + names[0]);
    }
    slider.addEventListener("keydown", function (event) {
      const step = { ArrowLeft: -2, ArrowRight: 2, PageDown: -20, PageUp: 20 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      slider.value = Number(slider.value) + step;
      move();
    });
    followPointer(wipe, slider, move);
    move();
    // Tall photos would fill more than the window.
    const shape = images[0].getAttribute("width") / images[0].getAttribute("height");
    wipe.style.maxWidth = "calc(85vh * " + shape + ")";
    wipe.append(copy(images[1]), copy(images[0], "over"), element("div", "bar"));
    wipe.append(element("span", "tag left", names[0].toLowerCase()),
                element("span", "tag right", names[1].toLowerCase()));
    wipe.append(slider);
    photo.querySelector(".triptych").before(wipe);
  }

  const dialog = element("dialog");
  const view = element("div", "view");
  const nav = element("nav");
  const shown = element("img");
  let current = null;
  let index = 0;
  dialog.setAttribute("aria-label", "Picture at 1:1; keys 1, 2, 3 switch, Escape closes");

  function show(i) {
    index = i;
    const image = current.querySelectorAll(".triptych img")[i];
    shown.src = image.src;
    shown.alt = image.alt;
    nav.querySelectorAll("button").forEach(function (button, k) {
      button.setAttribute("aria-pressed", String(k === i));
    });
  }

  names.forEach(function (name, i) {
    const button = element("button", "", i + 1 + "  " + name);
    button.type = "button";
    button.addEventListener("click", function () { show(i); });
    nav.append(button);
  });
  const close = element("button", "", "Close");
  close.type = "button";
  close.addEventListener("click", function () { dialog.close(); });
  view.append(shown);
  dialog.append(view, nav);
  nav.append(close);
  view.addEventListener("click", function () { dialog.close(); });
  dialog.addEventListener("keydown", function (event) {
    if ("123".includes(event.key)) show(Number(event.key) - 1);
    else if (event.key === " " && event.target.tagName !== "BUTTON") {
      event.preventDefault();
      show(index === 0 ? 1 : 0);
    }
  });
  document.body.append(dialog);

  document.querySelectorAll(".photo").forEach(function (photo) {
    addWipe(photo);
    photo.querySelectorAll(".triptych button").forEach(function (button, i) {
      button.addEventListener("click", function (event) {
        current = photo;
        show(i);
        dialog.showModal();
        // Keep the clicked detail in the middle of the window.
        const box = button.getBoundingClientRect();
        const x = event.clientX ? (event.clientX - box.left) / box.width : 0.5;
        const y = event.clientY ? (event.clientY - box.top) / box.height : 0.5;
        requestAnimationFrame(function () {
          view.scrollTo(x * view.scrollWidth - view.clientWidth / 2,
                        y * view.scrollHeight - view.clientHeight / 2);
        });
      });
    });
  });
})();
