// The picture's life: small and quick while something moves, exact at rest, then finer.

const MOVING_MS = 40;
const BAND_MS = 60;
const REST_MS = 150;
const SCALES = [1, 0.75, 0.5, 0.35, 0.25, 0.18];
const SMALLEST = 24;

class PictureLoop {
  constructor(drawer, view, onState) {
    this.drawer = drawer;
    this.view = view;
    this.onState = onState;
    this.cost = null;  // milliseconds a pixel
    this.changed = performance.now();
    this.version = 0;
    this.done = -1;
    this.stage = "none";
    this.samples = 4;
    this.stopped = false;
    this.run().catch((error) => this.onState("error", error));
  }

  // Asks for a new picture; moving: a quick one first.
  ask(view, moving = true) {
    this.view = view;
    this.version++;
    this.stage = "waiting";
    if (moving) this.changed = performance.now();
  }

  stop() { this.stopped = true; }

  async run() {
    while (!this.stopped) {
      if (!this.sized() || this.done === this.version) {
        await new Promise((done) => requestAnimationFrame(done));
        continue;
      }
      const version = this.version, view = this.view;
      if (performance.now() - this.changed < REST_MS) {
        await this.moving(view);
        if (this.version === version) await new Promise((done) => setTimeout(done, 30));
        continue;
      }
      await this.resting(view, version);
    }
  }

  sized() {
    const { canvas } = this.drawer, density = window.devicePixelRatio || 1;
    const most = this.drawer.device.limits.maxTextureDimension2D;
    const width = Math.min(Math.round(canvas.clientWidth * density), most);
    const height = Math.min(Math.round(canvas.clientHeight * density), most);
    if (width < 1 || height < 1 || document.hidden) return false;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
      this.version++;
    }
    return true;
  }

  async moving(view) {
    const { canvas } = this.drawer;
    const pixels = canvas.width * canvas.height;
    const factor = this.cost === null ? SCALES[4]
      : SCALES.find((s) => s * s * pixels * this.cost <= MOVING_MS) || SCALES[SCALES.length - 1];
    const target = this.drawer.target(
      Math.max(1, Math.min(canvas.width, Math.max(SMALLEST, Math.round(canvas.width * factor)))),
      Math.max(1, Math.min(canvas.height, Math.max(SMALLEST, Math.round(canvas.height * factor)))));
    const start = performance.now();
    const record = this.drawer.record(view, target, 1, [0, 0], false);
    this.drawer.drawFaces(target, record, view.eye);
    this.drawer.shade(target, record, 0, target.height, false);
    this.drawer.present(target, "picture");
    this.shown = { view, width: target.width, height: target.height, which: "picture" };
    await this.drawer.device.queue.onSubmittedWorkDone();
    const spent = (performance.now() - start) / (target.width * target.height);
    this.cost = this.cost === null ? spent : 0.7 * this.cost + 0.3 * spent;
    this.setStage("moving");
    await new Promise((done) => requestAnimationFrame(done));
  }

  // One sample a pixel, then grids of 2 x 2 and 4 x 4, in bands that a movement interrupts.
  async resting(view, version) {
    const { drawer } = this, { canvas } = drawer;
    for (const samples of [1, 2, 4].filter((n) => n <= this.samples)) {
      const target = drawer.target(canvas.width, canvas.height);
      for (let k = 0; k < samples * samples; k++) {
        const record = drawer.record(view, target, samples, [k % samples, Math.floor(k / samples)], k > 0);
        drawer.drawFaces(target, record, view.eye);
        for (let top = 0; top < target.height;) {
          const wanted = this.cost === null ? 64 : BAND_MS / this.cost / target.width;
          const rows = Math.min(target.height - top, Math.max(8, Math.floor(wanted / 8) * 8));
          const start = performance.now();
          drawer.shade(target, record, top, rows, true);
          await drawer.device.queue.onSubmittedWorkDone();
          this.cost = (performance.now() - start) / (rows * target.width);
          top += rows;
          if (this.version !== version || this.stopped) return;
        }
      }
      // The face texture shows the last sample's faces, less than a pixel beside the middle.
      drawer.present(target, "shown");
      this.shown = { view, width: target.width, height: target.height, which: "shown" };
      this.setStage(samples === 1 ? "exact" : `refined ${samples}`);
    }
    this.done = version;
  }

  setStage(stage) {
    if (this.stopped) return;
    this.stage = stage;
    this.onState("stage", stage);
  }

  // The surface point under a place of the canvas (shares of its sides); null where there is none.
  async pick(x, y) {
    if (!this.shown || !this.drawer.now || this.stopped) return null;
    const { view } = this.shown, { width, height } = this.drawer.now;
    // A chip that is lost meanwhile shows no surface.
    const face = await this.drawer.faceAt(x, y).catch(() => -1);
    if (face < 0 || face >= this.drawer.meta.mesh.faces) return null;
    return pointOnFace(this.drawer.mesh, face, view, x * width, y * height, width, height);
  }
}
