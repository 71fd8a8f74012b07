// Sorts a table by the column whose head is pressed; numbers by size, everything else by name.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows].sort((one, other) => {
        const [a, b] = [Number(value(one)), Number(value(other))];
        const order = Number.isNaN(a) || Number.isNaN(b)
          ? value(one).localeCompare(value(other), undefined, { numeric: true }) : a - b;
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}

// Adds a wipe between any two pictures of a photo, chosen above it.
for (const photo of document.querySelectorAll(".compare")) {
  const images = [...photo.querySelectorAll(".strip img")];
  if (images.length < 2) continue;
  const make = (tag, className = "") => Object.assign(document.createElement(tag), { className });
  const wipe = make("div", "wipe");
  const [under, over] = [make("img"), make("img", "over")];
  const slider = Object.assign(make("input"), { type: "range", min: 0, max: 100, step: 0.1, value: 50 });
  slider.setAttribute("aria-label", "Place of the border between the two pictures");
  const move = () => wipe.style.setProperty("--at", `${slider.value}%`);
  followPointer(wipe, slider, move);
  const choices = make("p", "choices");
  [[over, 1, "left"], [under, 0, "right"]].forEach(([target, first, side]) => {
    target.draggable = false;
    const select = make("select");
    select.setAttribute("aria-label", `Picture on the ${side}`);
    images.forEach((image, i) => select.append(new Option(image.alt, i, false, i === first)));
    const show = () => { target.src = images[select.value].src; target.alt = images[select.value].alt; };
    select.addEventListener("change", show);
    show();
    choices.append(select);
  });
  move();
  wipe.style.maxWidth = `calc(80vh * ${images[0].getAttribute("width") / images[0].getAttribute("height")})`;
  wipe.append(under, over, make("div", "bar"), slider);
  photo.querySelector(".strip").before(choices, wipe);
}
