// Port of csrc/rasterize/rays.h: rays that no candidate settled, against the boxes of all clusters.

struct Walk { clusters: u32, groups: u32, pad0: u32, pad1: u32 };

@group(0) @binding(4) var<uniform> walk_sizes: Walk;
@group(0) @binding(5) var rays: texture_2d<f32>;
@group(0) @binding(6) var<storage, read_write> chosen: array<u32>;
@group(0) @binding(7) var<storage, read> boxes: array<f32>;  // low and high corner: clusters, then groups
@group(0) @binding(8) var<storage, read> members: array<u32>;  // first face of each cluster, end, face ids

const GROUP = 64u;
// Above zero by rounding: a ray on an edge may belong to both faces, never to none.
const EDGE = -1e-5;

fn box_enters(index: u32, inverse: vec3f, nearest: f32) -> bool {
  let b = 6u * index;
  let low = from_eye(frame, vec3f(boxes[b], boxes[b + 1u], boxes[b + 2u])) * inverse;
  let high = from_eye(frame, vec3f(boxes[b + 3u], boxes[b + 4u], boxes[b + 5u])) * inverse;
  let first = min(low, high);
  let last = max(low, high);
  let enters = max(max(first.x, first.y), first.z);
  let leaves = min(min(last.x, last.y), last.z);
  let slack = 1e-5 * abs(leaves);
  return enters <= leaves + slack && leaves + slack >= 0.0 && enters <= nearest;
}

@compute @workgroup_size(8, 8) fn walk(@builtin(global_invocation_id) id: vec3u) {
  let pixel = vec2u(id.x, id.y + frame.size.w);
  if (pixel.x >= frame.size.x || pixel.y >= frame.size.y) { return; }
  let place = pixel.y * frame.size.z + pixel.x;
  let plane = frame.size.y * frame.size.z;
  let bits = chosen[plane + place];
  if ((bits & UNSETTLED) == 0u) { return; }
  let ray = textureLoad(rays, pixel, 0).xyz;
  let wide = select(max(abs(ray), vec3f(1e-12)), -max(abs(ray), vec3f(1e-12)), ray < vec3f(0.0));
  let inverse = 1.0 / wide;
  var best = select(chosen[place], 0u, piece.first == 0u);
  var nearest = select(bitcast<f32>(bits & ~UNSETTLED), 3.0e38, piece.first == 0u);
  for (var g = 0u; g < walk_sizes.groups; g++) {
    if (!box_enters(walk_sizes.clusters + g, inverse, nearest)) { continue; }
    let end = min(GROUP * (g + 1u), walk_sizes.clusters);
    for (var c = GROUP * g; c < end; c++) {
      if (!box_enters(c, inverse, nearest)) { continue; }
      for (var m = members[c]; m < members[c + 1u]; m++) {
        let face = members[walk_sizes.clusters + 1u + m] + 1u;
        let own = face - 1u - piece.first;
        if (own >= piece.faces) { continue; }
        let found = probe(ray, own);
        if (found.x < EDGE || found.y <= frame.lens.y) { continue; }
        if (found.y < nearest || (found.y == nearest && face < best)) {
          nearest = found.y;
          best = face;
        }
      }
    }
  }
  chosen[place] = best;
  chosen[plane + place] = bitcast<u32>(nearest) | UNSETTLED;
}
