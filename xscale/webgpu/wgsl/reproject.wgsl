// Port of csrc/reproject/reproject.h: colours of a view, from key frames that show the same points.

struct Key {
  turn_x: vec4f, turn_y: vec4f, turn_z: vec4f,  // rows: key = turn * view + move, which w holds
  centre: vec4f,                                // of its camera in the view's camera space; skew
  K: vec4f,                                     // fx fy cx cy
  number: vec4u,                                // its place in the buffers
};
struct Keys {
  limits: vec4f,  // sharper, coarser: footprints, squared; tolerance
  size: vec4u,    // number, width, height, words from row to row
  key: array<Key, 4>,
};

@group(0) @binding(4) var<uniform> keys: Keys;
@group(0) @binding(5) var face_id: texture_2d<u32>;
@group(0) @binding(6) var<storage, read> key_colour: array<u32>;
@group(0) @binding(7) var<storage, read> key_depth: array<f32>;  // far below 0 where it has no colour
@group(0) @binding(8) var<storage, read_write> picture: array<u32>;  // colours, depths, faces to shade

fn reproject_cosine(square: f32) -> f32 { return max(sqrt(square), 0.1); }

fn reproject_colour(place: u32, right: f32, down: f32) -> u32 {
  let row = keys.size.w;
  let above = mix(unpack4x8unorm(key_colour[place]), unpack4x8unorm(key_colour[place + 1u]), right);
  let below = mix(unpack4x8unorm(key_colour[place + row]), unpack4x8unorm(key_colour[place + row + 1u]), right);
  return pack4x8unorm(vec4f(mix(above, below, down).xyz, 1.0));
}

@compute @workgroup_size(8, 8) fn reproject(@builtin(global_invocation_id) id: vec3u) {
  let pixel = vec2u(id.x, id.y + frame.size.w);
  if (pixel.x >= frame.size.x || pixel.y >= frame.size.y) { return; }
  let place = pixel.y * frame.size.z + pixel.x;
  let plane = frame.size.y * frame.size.z;
  let face = textureLoad(face_id, pixel, 0).x;
  if (face == 0u) {
    if (piece.first == 0u) {
      picture[place] = 0xffffffffu;
      picture[plane + place] = 0u;
      picture[2u * plane + place] = 0u;
    }
    return;
  }
  let own = face - 1u - piece.first;
  if (own >= piece.faces) { return; }
  let ray = pinhole_ray(frame, pixel);
  let p0 = corner(3u * own);
  let e1 = corner(3u * own + 1u) - p0;
  let e2 = corner(3u * own + 2u) - p0;
  let hit = surface_point(frame, ray, p0, e1, e2);
  picture[place] = 0xffffffffu;
  picture[plane + place] = bitcast<u32>(hit.depth);
  picture[2u * plane + place] = face;
  let d = ray.direction;
  let at = hit.depth * vec3f(dot(frame.right.xyz, d), dot(frame.down.xyz, d), dot(frame.ahead.xyz, d));
  // Edges in their own unit: products of very short or long ones have no place in a float.
  let sum1 = dot(abs(e1), vec3f(1.0));
  let sum2 = dot(abs(e2), vec3f(1.0));
  if (sum1 == 0.0 || sum2 == 0.0) { return; }
  let flat_normal = cross(e1 / sum1, e2 / sum2);
  let normal = vec3f(dot(frame.right.xyz, flat_normal), dot(frame.down.xyz, flat_normal), dot(frame.ahead.xyz, flat_normal));
  let square = dot(normal, normal);
  if (square == 0.0) { return; }
  let area = hit.footprint * hit.footprint;
  for (var k = 0u; k < keys.size.x; k++) {
    let key = keys.key[k];
    let p = vec3f(dot(key.turn_x.xyz, at), dot(key.turn_y.xyz, at), dot(key.turn_z.xyz, at))
      + vec3f(key.turn_x.w, key.turn_y.w, key.turn_z.w);
    if (p.z <= 1e-20) { continue; }
    let slope = p.xy / p.z;
    let long = dot(slope, slope) + 1.0;
    let solid = 1.0 / (long * sqrt(long) * key.K.x * key.K.y);
    let away = dot(p, p);
    let facing = dot(normal, at - key.centre.xyz);
    let seen = away * solid / reproject_cosine(facing * facing / (square * away));
    let ratio = area / seen;
    let spot = vec2f(slope.x * key.K.x + slope.y * key.centre.w, slope.y * key.K.y) + key.K.zw - 0.5;
    let last = vec2f(keys.size.yz) - 1.0;
    if (!(ratio >= keys.limits.x && ratio <= keys.limits.y && all(spot >= vec2f(0.0)) && all(spot < last))) { continue; }
    let cell = vec2u(spot);
    let share = spot - vec2f(cell);
    let row = keys.size.w;
    let first = (key.number.x * keys.size.z + cell.y) * row + cell.x;
    let depths = vec4f(key_depth[first], key_depth[first + 1u], key_depth[first + row], key_depth[first + row + 1u]);
    if (any(abs(depths - p.z) > vec4f(keys.limits.z * sqrt(seen)))) { continue; }
    picture[place] = reproject_colour(first, share.x, share.y);
    picture[2u * plane + place] = 0u;
    return;
  }
}
