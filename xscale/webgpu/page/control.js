// Navigation: mouse, touch and keys to views. Dragging turns around what lies under the pointer.

const TURN = 0.006;

class Control {
  constructor(canvas, start, meta, pick, onChange) {
    this.canvas = canvas;
    this.view = start;
    this.meta = meta;
    this.pick = pick;
    this.onChange = onChange;
    this.mode = "orbit";
    this.pivot = meta.centre_of_view;
    this.pointers = new Map();
    this.keys = new Set();
    this.flight = null;
    this.onTap = null;
    const on = (target, name, handler, options) => target.addEventListener(name, handler, options);
    on(canvas, "pointerdown", (e) => this.down(e));
    on(canvas, "pointermove", (e) => this.moved(e));
    for (const name of ["pointerup", "pointercancel"]) on(canvas, name, (e) => this.up(e));
    on(canvas, "wheel", (e) => this.wheel(e), { passive: false });
    on(canvas, "dblclick", (e) => this.centre(e));
    on(canvas, "contextmenu", (e) => e.preventDefault());
    on(document, "keydown", (e) => this.key(e, true));
    on(document, "keyup", (e) => this.key(e, false));
    on(window, "blur", () => { this.keys.clear(); this.pointers.clear(); });
  }

  set(view) {
    this.view = view;
    this.onChange(view);
  }

  stop() {
    if (this.flight) { const { ended } = this.flight; this.flight = null; if (ended) ended(); }
  }

  place(e) {
    const box = this.canvas.getBoundingClientRect();
    return [(e.clientX - box.left) / Math.max(box.width, 1), (e.clientY - box.top) / Math.max(box.height, 1)];
  }

  focal() { return this.view.f * Math.min(this.canvas.clientWidth, this.canvas.clientHeight); }

  // Distance by which movements are measured: to the pivot, but never nothing.
  reach() { return Math.max(Math.abs(dot(sub(this.pivot, this.view.eye), this.view.R[2])), 1e-3 * this.meta.size); }

  async down(e) {
    this.stop();
    this.canvas.focus({ preventScroll: true });
    try { this.canvas.setPointerCapture(e.pointerId); } catch { /* the pointer is gone already */ }
    this.pointers.set(e.pointerId, { x: e.clientX, y: e.clientY, moved: 0, button: e.button, shift: e.shiftKey });
    if (this.pointers.size > 2) return;
    const [x, y] = this.place(e);
    const found = await this.pick(x, y);
    if (found) this.pivot = found.point;
  }

  moved(e) {
    const held = this.pointers.get(e.pointerId);
    if (!held) return;
    const dx = e.clientX - held.x, dy = e.clientY - held.y;
    if (this.pointers.size === 2) { this.pinch(e, held); return; }
    held.x = e.clientX;
    held.y = e.clientY;
    held.moved += Math.abs(dx) + Math.abs(dy);
    if (held.button === 2 || held.button === 1 || held.shift) this.pan(dx, dy);
    else if (this.mode === "fly") this.set(orbited(this.view, this.view.eye, dx * TURN / 2, dy * TURN / 2, this.meta.up));
    else this.set(orbited(this.view, this.pivot, -dx * TURN, -dy * TURN, this.meta.up));
  }

  // The point under the fingers stays under them.
  pan(dx, dy) {
    const step = this.reach() / this.focal();
    const { R } = this.view;
    this.set({ ...this.view, eye: add(add(this.view.eye, R[0], -dx * step), R[1], -dy * step) });
  }

  pinch(e, held) {
    const other = [...this.pointers.values()].find((p) => p !== held);
    const before = Math.hypot(held.x - other.x, held.y - other.y);
    const middle = [(held.x + other.x) / 2, (held.y + other.y) / 2];
    held.x = e.clientX;
    held.y = e.clientY;
    held.moved += 99;
    const after = Math.hypot(held.x - other.x, held.y - other.y);
    if (before > 1 && after > 1) this.dolly(before / after, this.pivot);
    this.pan((held.x + other.x) / 2 - middle[0], (held.y + other.y) / 2 - middle[1]);
  }

  up(e) {
    const held = this.pointers.get(e.pointerId);
    this.pointers.delete(e.pointerId);
    if (held && held.moved < 6 && held.button === 0 && this.onTap) this.onTap(...this.place(e));
  }

  // Towards a point, or away from it: it keeps its place in the picture.
  dolly(factor, point) {
    const least = 4 * this.meta.near;
    const arm = sub(this.view.eye, point);
    if (norm(arm) * factor < least && factor < 1) return;
    if (norm(arm) * factor > 50 * this.meta.size) return;
    this.set({ ...this.view, eye: add(point, arm, factor) });
  }

  async wheel(e) {
    e.preventDefault();
    this.stop();
    const notch = e.deltaMode === 1 ? 30 : e.deltaMode === 2 ? 300 : 1;
    const factor = Math.exp(Math.max(-200, Math.min(200, e.deltaY * notch)) * 0.0015);
    const now = performance.now();
    if (!this.wheeled || now - this.wheeled > 250) {
      const [x, y] = this.place(e);
      const found = await this.pick(x, y);
      if (found) this.pivot = found.point;
    }
    this.wheeled = now;
    this.dolly(factor, this.pivot);
  }

  async centre(e) {
    const found = await this.pick(...this.place(e));
    if (!found) return;
    this.pivot = found.point;
    const R = lookAlong(sub(found.point, this.view.eye), this.meta.up, this.view.R[0]);
    this.flyTo({ ...this.view, eye: add(found.point, R[2], -0.6 * found.depth), R });
  }

  key(e, pressed) {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target instanceof HTMLSelectElement) return;
    const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    if (!["w", "a", "s", "d", "q", "e", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(key)) return;
    e.preventDefault();
    if (pressed) { this.stop(); this.keys.add(key); this.fast = e.shiftKey; this.walk(); } else this.keys.delete(key);
  }

  walk() {
    if (this.walking) return;
    this.walking = performance.now();
    const step = (now) => {
      if (!this.keys.size) { this.walking = null; return; }
      const seconds = Math.min(0.1, (now - this.walking) / 1000);
      this.walking = now;
      const has = (a, b) => (this.keys.has(a) ? 1 : 0) - (this.keys.has(b) ? 1 : 0);
      const pace = this.meta.size * 0.15 * (this.fast ? 4 : 1) * seconds;
      const { R } = this.view;
      let eye = add(this.view.eye, R[2], pace * has("w", "s"));
      eye = add(eye, R[0], pace * has("d", "a"));
      eye = add(eye, this.meta.up, pace * has("e", "q"));
      const turn = 1.2 * seconds;
      this.set(orbited({ ...this.view, eye }, eye, turn * has("ArrowLeft", "ArrowRight"), turn * has("ArrowUp", "ArrowDown"), this.meta.up));
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  // Along views, a second or two each; any input ends it.
  fly(views, secondsEach, ended = null, loop = false) {
    this.stop();
    const flight = { ended };
    this.flight = flight;
    const start = performance.now();
    const step = (now) => {
      if (this.flight !== flight) return;
      let at = (now - start) / 1000 / secondsEach;
      if (loop) at %= views.length - 1;
      if (at >= views.length - 1) { this.set(views[views.length - 1]); this.stop(); return; }
      const i = Math.max(0, Math.floor(at));
      const t = at - i;
      this.set(between(views[i], views[i + 1], views.length > 2 ? t : t * t * (3 - 2 * t)));
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  flyTo(view) {
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (still) { this.stop(); this.set(view); } else this.fly([this.view, view], 0.8);
  }
}
