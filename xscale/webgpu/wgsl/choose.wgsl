// Port of csrc/rasterize/rays.h: faces that bent rays hit, chosen among those that wider pinhole
// pictures show around them.

struct View { right: vec4f, down: vec4f, ahead: vec4f, K: vec4f };  // rows of a rotation; fx fy cx cy
struct Views { count: u32, pad0: u32, pad1: u32, pad2: u32, view: array<View, 6> };

@group(0) @binding(4) var<uniform> views: Views;
@group(0) @binding(5) var candidates: texture_2d_array<u32>;
@group(0) @binding(6) var rays: texture_2d<f32>;
@group(0) @binding(7) var<storage, read_write> chosen: array<u32>;  // faces, then depths

@compute @workgroup_size(8, 8) fn choose(@builtin(global_invocation_id) id: vec3u) {
  let pixel = id.xy;
  if (pixel.x >= frame.size.x || pixel.y >= frame.size.y) { return; }
  let place = pixel.y * frame.size.z + pixel.x;
  let plane = frame.size.y * frame.size.z;
  let ray = textureLoad(rays, pixel, 0);
  var best = 0u;
  var nearest = 3.0e38;
  var seen = false;
  if (piece.first > 0u) {
    best = chosen[place];
    let bits = chosen[plane + place];
    seen = (bits & UNSETTLED) != 0u;
    nearest = bitcast<f32>(bits & ~UNSETTLED);
  }
  let size = vec2i(textureDimensions(candidates));
  for (var v = 0u; v < views.count; v++) {
    let view = views.view[v];
    let c = vec3f(dot(view.right.xyz, ray.xyz), dot(view.down.xyz, ray.xyz), dot(view.ahead.xyz, ray.xyz));
    if (ray.w <= 0.0 || c.z <= 1e-4) { continue; }
    let at = view.K.xy * c.xy / c.z + view.K.zw;
    if (any(at < vec2f(0.0)) || any(at >= vec2f(size))) { continue; }
    var before = 0u;
    for (var i = 0; i < 9; i++) {
      let near = clamp(vec2i(at) + vec2i(i % 3 - 1, i / 3 - 1), vec2i(0), size - 1);
      let face = textureLoad(candidates, near, v, 0).x;
      if (face == 0u) { continue; }
      seen = true;
      let own = face - 1u - piece.first;
      if (face == before || own >= piece.faces) { continue; }
      before = face;
      let found = probe(ray.xyz, own);
      if (found.x < 0.0 || found.y <= frame.lens.y) { continue; }
      if (found.y < nearest || (found.y == nearest && face < best)) {
        nearest = found.y;
        best = face;
      }
    }
  }
  chosen[place] = best;
  chosen[plane + place] = bitcast<u32>(nearest) | select(0u, UNSETTLED, seen && best == 0u);
}
