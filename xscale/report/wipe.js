// Lets a slider over a picture follow the mouse or the finger: it alone stops half a thumb short of both ends.
function followPointer(wipe, slider, move) {
  let dragged = null;
  const follow = (event) => {
    if (!event.buttons) return;
    const box = wipe.getBoundingClientRect();
    dragged = (100 * (event.clientX - box.left)) / box.width;
    slider.value = dragged;
    move();
  };
  wipe.addEventListener("pointerdown", follow);
  wipe.addEventListener("pointermove", follow);
  for (const end of ["pointerup", "pointercancel", "keydown"]) {
    wipe.addEventListener(end, () => setTimeout(() => { dragged = null; }));
  }
  slider.addEventListener("input", () => {
    if (dragged !== null) slider.value = dragged;
    move();
  });
}

