// Start: data, device, first picture from the coarse levels, then the finer ones as they come.

async function begin(state) {
  const meta = state.meta;
  setupTheme();
  const device = await openDevice(meta);
  state.device = device;
  device.lost.then((info) => lost(state, info));
  device.addEventListener("uncapturederror", (e) => { e.preventDefault(); state.fault = e.error.message; });
  const mesh = state.mesh || (state.mesh = meshOf(await part(meta, "mesh"), meta.mesh));
  if (meta.parts.sides && !mesh.sides) mesh.sides = await part(meta, "sides");
  const net = state.net || (state.net = await part(meta, "net"));
  const canvas = byId("view");
  const drawer = new Drawer(device, meta, mesh, net, canvas);
  await drawer.compile();
  const view = state.control ? state.control.view : meta.start;
  const loop = new PictureLoop(drawer, view, (what, value) => pictureState(state, what, value));
  state.loop = loop;
  if (!state.control) {
    state.control = new Control(canvas, view, meta, (x, y) => state.loop.pick(x, y), (now) => {
      state.loop.ask(now);
      state.surroundings.drawMeasure();
    });
    state.surroundings = new Surroundings(meta, state.control, loop);
    new ResizeObserver(() => { state.loop.ask(state.control.view, false); state.surroundings.drawMeasure(); }).observe(canvas);
    document.addEventListener("visibilitychange", () => state.loop.ask(state.control.view, false));
  }
  state.surroundings.loop = loop;
  loop.ask(view);
  if (meta.sky.learned) { drawer.addSky(state.sky || (state.sky = await part(meta, "sky"))); loop.ask(state.control.view, false); }
  state.levels = state.levels || [];
  for (let level = 0; level < meta.levels.length; level++) {
    const bytes = state.levels[level] || await part(meta, `level-${level}`);
    if (meta.folder) state.levels[level] = null; else state.levels[level] = bytes;
    drawer.addLevel(level, bytes);
    byId("progress").value = (level + 1) / meta.levels.length;
    state.loop.ask(state.control.view, false);
  }
  byId("progress").hidden = true;
  state.whole = true;
  loop.ask(state.control.view, false);
}

function pictureState(state, what, value) {
  // A picture that was under way when the page gave up says nothing more.
  if (state.ended) return;
  if (what === "error") { failed(state, value); return; }
  if (document.body.dataset.state !== "running") tell("");
  document.body.dataset.state = "running";
  if (state.fault) { const text = state.fault; state.fault = null; failed(state, new Error(text)); }
}

// A chip that was lost is asked once more; browsers take it away while a tab sleeps.
function lost(state, info) {
  if (info.reason === "destroyed" || state.ended) return;
  if (state.loop) state.loop.stop();
  state.restarts = (state.restarts || 0) + 1;
  if (state.restarts > 3) { giveUp("The graphics chip was lost again and again. Reload the page to try once more."); return; }
  tell("The graphics chip was lost; starting again.");
  setTimeout(() => begin(state).then(() => tell(""), (error) => failed(state, error)), 500);
}

function failed(state, error) {
  state.ended = true;
  if (state.loop) state.loop.stop();
  if (error instanceof Damaged) giveUp(`This page's data is damaged or did not arrive whole (${error.message}). Ask for the file again.`);
  else if (error instanceof Unsupported) giveUp(`${error.message} Current versions of Chrome, Edge, Safari and Firefox show the model on most computers and phones; the picture here is a still one.`);
  else if (error instanceof TypeError && state.meta.folder && !state.whole) giveUp("The page's files could not be fetched. A folder export needs a web server; the single file opens from disk.");
  else giveUp(`The picture cannot be drawn here: ${error && error.message ? error.message : error}`);
}

const state = { meta: JSON.parse(byId("meta").textContent) };
// For pages around this one, and for tests: the view, the stage, the picture's bytes.
window.xscale = {
  get stage() { return state.ended ? "failed" : state.whole ? state.loop.stage : "loading"; },
  get view() { return state.control.view; },
  set view(view) { state.control.set(view); },
  get meta() { return state.meta; },
  set samples(most) { state.loop.samples = most; state.loop.ask(state.control.view, false); },
  pixels: () => state.loop.drawer.pixels(state.loop.shown.which),
  pick: (x, y) => state.loop.pick(x, y),
};
begin(state).catch((error) => failed(state, error));
