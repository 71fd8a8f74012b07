// Port of csrc/rasterize/rays.h: one ray against one face.

// A face along a ray: how far inside it the ray passes (the least weight of a corner; below 0 it
// passes outside) and the multiple of the ray that reaches its plane, 0 where none does.
fn probe(ray: vec3f, own: u32) -> vec2f {
  let p0 = corner(3u * own);
  let e1 = corner(3u * own + 1u) - p0;
  let e2 = corner(3u * own + 2u) - p0;
  let s = -from_eye(frame, p0);
  let p = cross(ray, e2);
  let det = dot(e1, p);
  if (det == 0.0) { return vec2f(-1.0, 0.0); }
  let q = cross(s, e1);
  let b1 = dot(s, p) / det;
  let b2 = dot(ray, q) / det;
  return vec2f(min(min(b1, b2), 1.0 - b1 - b2), dot(e2, q) / det);
}

// Set in the depths of pixels whose candidates all miss: faces there are smaller than the pinhole
// pictures' pixels, and the pixel is walked.
const UNSETTLED = 0x80000000u;
