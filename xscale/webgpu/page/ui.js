// The picture's surroundings: words, buttons, photos, measurements. Texts of a run are only ever
// set as text.

const byId = (id) => document.getElementById(id);

// A failure's words stay whatever is pressed afterwards.
function tell(text, kind = "note") {
  if (document.body.dataset.state === "failed" && kind !== "failed") return;
  const box = byId("message");
  box.textContent = text;
  box.dataset.kind = kind;
  box.hidden = !text;
}

// Words in place of the picture; the poster stays.
function giveUp(text) {
  document.body.dataset.state = "failed";
  tell(text, "failed");
  byId("progress").hidden = true;
}

function setupTheme() {
  const dark = () => (document.documentElement.dataset.theme || (window.matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark")) === "dark";
  byId("theme").addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; });
}

class Surroundings {
  constructor(meta, control, loop) {
    this.meta = meta;
    this.control = control;
    this.loop = loop;
    this.points = [];
    this.photo = -1;
    const click = (id, handler) => byId(id).addEventListener("click", () => { handler(); byId("view").focus({ preventScroll: true }); });
    click("mode", () => this.switchMode());
    click("play", () => this.play());
    click("measure", () => this.switchMeasure());
    click("home", () => this.goTo(meta.start));
    click("before", () => this.step(-1));
    click("after", () => this.step(1));
    click("save", () => this.save());
    byId("help-open").addEventListener("click", () => this.help(true));
    byId("help-close").addEventListener("click", () => this.help(false));
    const list = byId("photos");
    meta.views.forEach((view, i) => {
      const option = document.createElement("option");
      option.value = String(i);
      option.textContent = view.name;
      list.append(option);
    });
    list.addEventListener("change", () => { if (list.value !== "") this.show(Number(list.value)); });
    byId("photo-box").hidden = !meta.views.length;
    byId("play").hidden = meta.path.length < 2;
    document.addEventListener("keydown", (e) => this.key(e));
    control.onTap = (x, y) => { if (this.measuring) this.addPoint(x, y); };
  }

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target instanceof HTMLSelectElement) return;
    const actions = {
      h: () => this.help(byId("help").hidden), "?": () => this.help(true), Escape: () => this.escape(),
      f: () => this.switchMode(), p: () => this.play(), m: () => this.switchMeasure(), r: () => this.goTo(this.meta.start),
      n: () => this.step(1), b: () => this.step(-1),
    };
    const action = actions[e.key.length === 1 ? e.key.toLowerCase() : e.key];
    if (action) { e.preventDefault(); action(); }
  }

  escape() {
    this.help(false);
    this.control.stop();
    if (this.measuring) this.switchMeasure();
  }

  help(open) {
    byId("help").hidden = !open;
    if (open) byId("help-close").focus(); else byId("view").focus({ preventScroll: true });
  }

  switchMode() {
    this.control.mode = this.control.mode === "orbit" ? "fly" : "orbit";
    byId("mode").textContent = this.control.mode === "orbit" ? "Orbit" : "Fly";
  }

  play() {
    if (this.control.flight) { this.control.stop(); return; }
    byId("play").textContent = "Stop";
    const views = [...this.meta.path, this.meta.path[0]];
    this.control.fly(views, this.meta.path_seconds / views.length, () => { byId("play").textContent = "Play"; }, true);
  }

  goTo(view) {
    this.control.pivot = this.meta.centre_of_view;
    this.control.flyTo(view);
  }

  step(by) {
    const count = this.meta.views.length;
    if (count) this.show((this.photo + by + count) % count);
  }

  show(number) {
    this.photo = number;
    byId("photos").value = String(number);
    this.goTo(this.meta.views[number]);
  }

  switchMeasure() {
    this.measuring = !this.measuring;
    byId("measure").setAttribute("aria-pressed", String(this.measuring));
    this.points = [];
    this.drawMeasure();
    tell(this.measuring ? "Tap two points on the surface." : "");
  }

  async addPoint(x, y) {
    const found = await this.loop.pick(x, y);
    if (!found) { tell("There is no surface under this point."); return; }
    if (this.points.length === 2) this.points = [];
    this.points.push(found);
    if (this.points.length === 2) {
      const [a, b] = this.points;
      const length = norm(sub(a.point, b.point)), error = Math.hypot(a.error, b.error);
      tell(`${this.number(length, error)} \u00b1 ${this.number(error, error)}${this.meta.unit_name ? ` ${this.meta.unit_name}` : " scene units"} (a pixel at each end; errors of the mesh are not in it)`);
    } else tell("Tap the second point.");
    this.drawMeasure();
  }

  // Digits that the error leaves a meaning to.
  number(value, error) {
    const digits = Math.max(0, Math.min(8, 1 - Math.floor(Math.log10(Math.max(error, 1e-12)))));
    return value.toFixed(digits);
  }

  drawMeasure() {
    const { view } = this.control, canvas = byId("view");
    const width = canvas.clientWidth, height = canvas.clientHeight, focal = view.f * Math.min(width, height);
    const places = this.points.map(({ point }) => {
      const p = sub(point, view.eye), z = dot(p, view.R[2]);
      return z > 0 ? [width / 2 + (focal * dot(p, view.R[0])) / z, height / 2 + (focal * dot(p, view.R[1])) / z] : null;
    });
    const line = byId("ruler-line"), ends = [byId("ruler-a"), byId("ruler-b")];
    ends.forEach((end, i) => {
      const at = places[i];
      end.setAttribute("display", at ? "inline" : "none");
      if (at) { end.setAttribute("cx", at[0]); end.setAttribute("cy", at[1]); }
    });
    const whole = places.length === 2 && places[0] && places[1];
    line.setAttribute("display", whole ? "inline" : "none");
    if (whole) ["x1", "y1", "x2", "y2"].forEach((name, i) => line.setAttribute(name, places[i >> 1][i & 1]));
  }

  async save() {
    const found = this.loop.shown && await this.loop.drawer.pixels(this.loop.shown.which).catch(() => null);
    if (!found) { tell("There is no picture to save now."); return; }
    const { width, height, data } = found;
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
    canvas.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = "view.png";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }
}
