// Start: data, device, first picture from the coarse levels, then the finer ones as they come.

const RESTARTS = 3;
const CALM_MS = 60000;

class LostAgain extends Error {}

// Starts the page, the first time or after a loss. Each start has a number; one that was overtaken
// by a loss, or ended by a failure, changes nothing more.
function start(state) {
  const turn = ++state.turn;
  begin(state, turn).catch((error) => stumbled(state, turn, error));
}

const over = (state, turn) => state.ended || turn !== state.turn;

// Bytes of a part. A part leaves the document when it is read, so every start takes the same promise.
function held(state, name, unpack = (bytes) => bytes) {
  if (!state.parts[name]) state.parts[name] = part(state.meta, name).then(unpack);
  return state.parts[name];
}

async function begin(state, turn) {
  const { meta } = state;
  let device;
  try {
    device = await openDevice(meta);
  } catch (error) {
    // Browsers withhold the chip for a while after a loss.
    if (error instanceof NoChip && state.restarts && !over(state, turn)) { restart(state); return; }
    throw error;
  }
  if (over(state, turn)) return;
  state.device = device;
  device.lost.then((info) => { if (info.reason !== "destroyed" && !over(state, turn)) restart(state); });
  device.addEventListener("uncapturederror", (e) => { e.preventDefault(); stumbled(state, turn, e.error); });
  const mesh = await held(state, "mesh", (bytes) => meshOf(bytes, meta.mesh));
  if (meta.parts.sides) mesh.sides = await held(state, "sides");
  const net = await held(state, "net");
  if (over(state, turn)) return;
  const canvas = byId("view");
  const drawer = new Drawer(device, meta, mesh, net, canvas);
  await drawer.compile();
  if (over(state, turn)) return;
  const view = state.control ? state.control.view : meta.start;
  const loop = new PictureLoop(drawer, view, (what, value) => pictureState(state, turn, what, value));
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
  if (meta.sky.learned) {
    const sky = await held(state, "sky");
    if (over(state, turn)) return;
    drawer.addSky(sky);
    loop.ask(state.control.view, false);
  }
  for (let level = 0; level < meta.levels.length; level++) {
    const name = `level-${level}`;
    const bytes = meta.folder ? await part(meta, name) : await held(state, name);
    if (over(state, turn)) return;
    drawer.addLevel(level, bytes);
    byId("progress").value = (level + 1) / meta.levels.length;
    loop.ask(state.control.view, false);
  }
  byId("progress").hidden = true;
  state.whole = true;
  loop.ask(state.control.view, false);
}

function pictureState(state, turn, what, value) {
  if (over(state, turn)) return;
  if (what === "error") { stumbled(state, turn, value); return; }
  if (document.body.dataset.state !== "running") tell("");
  document.body.dataset.state = "running";
}

// An error ends the page, unless it came from a chip that was lost: the loss may be told later.
async function stumbled(state, turn, error) {
  const { device } = state;
  if (device) await Promise.race([device.lost, new Promise((done) => setTimeout(done, 300))]);
  if (!over(state, turn)) failed(state, error);
}

// Asks for the chip once more after a loss; browsers take it away while a tab sleeps.
function restart(state) {
  const now = performance.now();
  if (now - state.lostAt > CALM_MS) state.restarts = 0;
  state.lostAt = now;
  const turn = ++state.turn;
  if (state.loop) state.loop.stop();
  state.whole = false;
  if (++state.restarts > RESTARTS) {
    failed(state, new LostAgain("The graphics chip was lost again and again. Reload the page to try once more."));
    return;
  }
  document.body.dataset.state = "restarting";
  tell("The graphics chip was lost; starting again.");
  const again = () => { if (!over(state, turn)) start(state); };
  awake().then(() => setTimeout(again, 500 * 4 ** (state.restarts - 1)));
}

// Settles when the tab is seen: a sleeping tab gets no chip.
function awake() {
  return new Promise((done) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      done();
    };
    document.addEventListener("visibilitychange", look);
    look();
  });
}

function failed(state, error) {
  state.ended = true;
  if (state.loop) state.loop.stop();
  if (error instanceof Damaged) giveUp(`This page's data is damaged or did not arrive whole (${error.message}). Ask for the file again.`);
  else if (error instanceof LostAgain) giveUp(error.message);
  else if (error instanceof Unsupported) giveUp(`${error.message} Current versions of Chrome, Edge, Safari and Firefox show the model on most computers and phones; the picture here is a still one.`);
  else if (error instanceof NotFetched) giveUp("The page's files could not be fetched. A folder export needs a web server; the single file opens from disk.");
  else giveUp(`The picture cannot be drawn here: ${error && error.message ? error.message : error}`);
}

const state = { meta: JSON.parse(byId("meta").textContent), parts: {}, turn: 0, restarts: 0, lostAt: -Infinity };
setupTheme();
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
start(state);
