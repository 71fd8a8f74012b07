// Port of csrc/fused/frame.h: face ids of a picture to colours, one thread a pixel.

@group(0) @binding(5) var face_id: texture_2d<u32>;
@group(0) @binding(6) var<storage, read_write> picture: array<u32>;
$RAYS
@compute @workgroup_size(8, $WORK_ROWS) fn paint(
  @builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32
) {
  let pixel = vec2u(id.x, id.y + frame.size.w);
  if (pixel.x >= frame.size.x || pixel.y >= frame.size.y) { return; }
  let place = pixel.y * frame.size.z + pixel.x;
  let plane = frame.size.y * frame.size.z;
  let face = textureLoad(face_id, pixel, 0).x;
  if (face == 0u) {
    if (piece.first == 0u) { $MISS }
    return;
  }
  // Unsigned: faces of pieces before this one are far beyond its end.
  let own = face - 1u - piece.first;
  if (own >= piece.faces) { return; }
  let ray = $RAY;
  let p0 = corner(3u * own);
  let e1 = corner(3u * own + 1u) - p0;
  let e2 = corner(3u * own + 2u) - p0;
  // Bit 30: its front is not surface, 31: its back is not. Such a side hides, and shows what misses do.
  let back = dot(cross(e1, e2), ray.direction) > 0.0;
  if (((faces[3u * own] >> select(30u, 31u, back)) & 1u) != 0u) { $MISS return; }
  let hit = surface_point(frame, ray, p0, e1, e2);
  let x = clamp((hit.position - frame.centre.xyz) * frame.unit.xyz + 0.5, vec3f(0.0), vec3f(1.0));
  let rgb = shade(frame, x, hit.footprint * frame.look.y, ray.direction / ray.length, lane);
  let colour = clamp(rgb * frame.look.x, vec3f(0.0), vec3f(1.0));
  $STORE
}
