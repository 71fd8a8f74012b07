// Vectors, rotations and views. A view: eye [3], rows of its rotation (right, down, ahead), focal
// length in units of the picture's shorter side.

const add = (a, b, s = 1) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]];
const sub = (a, b) => add(a, b, -1);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const norm = (a) => Math.hypot(a[0], a[1], a[2]);
const scale = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
const unit = (a) => scale(a, 1 / Math.max(norm(a), 1e-30));
const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

// A vector turned about a unit axis.
function turned(v, axis, angle) {
  const c = Math.cos(angle), s = Math.sin(angle);
  return add(add(scale(v, c), cross(axis, v), s), axis, dot(axis, v) * (1 - c));
}

// Rows that look along a direction with the horizon level.
function lookAlong(ahead, up, right = null) {
  ahead = unit(ahead);
  let side = cross(ahead, up);
  if (norm(side) < 1e-4) side = right || cross(ahead, Math.abs(up[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0]);
  side = unit(sub(side, scale(ahead, dot(side, ahead))));
  return [side, cross(ahead, side), ahead];
}

// Turned about the up axis and tilted, around a point; never over the poles.
function orbited(view, pivot, yaw, pitch, up) {
  const lift = Math.asin(Math.max(-1, Math.min(1, dot(view.R[2], up))));
  const most = 1.55;
  const tilt = Math.max(-most, Math.min(most, lift + pitch)) - lift;
  const turn = (v) => turned(turned(v, view.R[0], tilt), up, yaw);
  const R = lookAlong(turn(view.R[2]), up, turn(view.R[0]));
  const arm = turn(sub(view.eye, pivot));
  return { ...view, eye: add(pivot, arm), R };
}

function quaternion(R) {
  const [a, b, c] = R;
  const trace = a[0] + b[1] + c[2];
  let q;
  if (trace > 0) q = [1 + trace, b[2] - c[1], c[0] - a[2], a[1] - b[0]];
  else if (a[0] > b[1] && a[0] > c[2]) q = [b[2] - c[1], 1 + a[0] - b[1] - c[2], a[1] + b[0], a[2] + c[0]];
  else if (b[1] > c[2]) q = [c[0] - a[2], a[1] + b[0], 1 - a[0] + b[1] - c[2], b[2] + c[1]];
  else q = [a[1] - b[0], a[2] + c[0], b[2] + c[1], 1 - a[0] - b[1] + c[2]];
  const length = Math.hypot(...q);
  return q.map((x) => x / length);
}

function rowsOf([w, x, y, z]) {
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)],
    [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)],
    [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]];
}

// The view a share t of the way between two.
function between(a, b, t) {
  const p = quaternion(a.R);
  let q = quaternion(b.R);
  let along = p.reduce((sum, x, i) => sum + x * q[i], 0);
  if (along < 0) { q = q.map((x) => -x); along = -along; }
  const angle = Math.acos(Math.min(1, along));
  const [s, u] = angle < 1e-4 ? [1 - t, t]
    : [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
  const mixed = p.map((x, i) => s * x + u * q[i]);
  const length = Math.hypot(...mixed);
  return {
    eye: add(scale(a.eye, 1 - t), b.eye, t),
    R: rowsOf(mixed.map((x) => x / length)),
    f: a.f * (1 - t) + b.f * t,
  };
}

// Where the ray of a pixel meets a face's plane, in double precision.
function pointOnFace(mesh, face, view, x, y, width, height) {
  const corner = (k) => {
    const v = 3 * mesh.faces[3 * face + k];
    return [mesh.vertices[v], mesh.vertices[v + 1], mesh.vertices[v + 2]];
  };
  const p0 = corner(0);
  const normal = cross(sub(corner(1), p0), sub(corner(2), p0));
  const focal = view.f * Math.min(width, height);
  const ray = add(add(view.R[2], view.R[0], (x - width / 2) / focal), view.R[1], (y - height / 2) / focal);
  const slope = dot(normal, ray);
  const depth = slope === 0 ? dot(sub(p0, view.eye), view.R[2]) : dot(normal, sub(p0, view.eye)) / slope;
  const cosine = Math.abs(slope) / Math.max(norm(normal) * norm(ray), 1e-30);
  return {
    point: add(view.eye, ray, depth), depth, view,
    // A pick may miss by a pixel; slant makes that longer.
    error: depth / focal / Math.max(cosine, 0.05),
  };
}
