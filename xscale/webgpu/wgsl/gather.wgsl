// Port of xscale/render/resolve.py: the mean of the samples that hit the mesh, else of all.

@group(0) @binding(0) var<uniform> frame: Frame;
@group(0) @binding(1) var<storage, read> picture: array<u32>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec2u>;
@group(0) @binding(3) var<storage, read_write> shown: array<u32>;

const HIT = 0x80000000u;

// Twelve bits hold the sum of sixteen bytes: red and green; blue, the count, whether it was hit.
@compute @workgroup_size(8, 8) fn gather(@builtin(global_invocation_id) id: vec3u) {
  let pixel = vec2u(id.x, id.y + frame.size.w);
  if (pixel.x >= frame.size.x || pixel.y >= frame.size.y) { return; }
  let place = pixel.y * frame.size.z + pixel.x;
  let word = picture[place];
  let hit = (word >> 24u) != 0u;
  var sum = sums[place];
  if (frame.look.z == 0.0) { sum = vec2u(0u); }
  if (hit && (sum.y & HIT) == 0u) { sum = vec2u(0u, HIT); }
  if (hit || (sum.y & HIT) == 0u) {
    let green = (word >> 8u) & 255u;
    let blue = (word >> 16u) & 255u;
    sum += vec2u((word & 255u) | (green << 12u), blue | (1u << 12u));
  }
  sums[place] = sum;
  let count = f32((sum.y >> 12u) & 4095u);
  let mean = vec3f(f32(sum.x & 4095u), f32((sum.x >> 12u) & 4095u), f32(sum.y & 4095u)) / count;
  let byte = vec3u(mean + 0.5);
  shown[place] = byte.x | (byte.y << 8u) | (byte.z << 16u) | 0xff000000u;
}
