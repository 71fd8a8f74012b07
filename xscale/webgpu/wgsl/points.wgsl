// Port of csrc/interpolate/interpolate.h: where a ray meets a face's plane, and what belongs to it.

struct Hit { position: vec3f, depth: f32, footprint: f32 };

// Everything is relative to the face's first corner and to the camera: float32 then places the
// point within a few thousandths of a pixel.
fn surface_point(frame: Frame, ray: Ray, p0: vec3f, e1: vec3f, e2: vec3f) -> Hit {
  let s = -from_eye(frame, p0);
  let p = cross(ray.direction, e2);
  let det = dot(e1, p);
  let q = cross(s, e1);
  var b1 = 0.0;
  var b2 = 0.0;
  var depth = dot(ray.direction, -s) / (ray.length * ray.length);
  if (det != 0.0) {
    b1 = dot(s, p) / det;
    b2 = dot(ray.direction, q) / det;
    depth = dot(e2, q) / det;
  }
  let normal = cross(e1, e2);
  let area = length(normal);
  var slope = 1.0;
  if (area > 0.0) { slope = abs(dot(normal, ray.direction)) / (area * ray.length); }
  let footprint = depth * ray.length * ray.angle * inverseSqrt(max(slope, 0.1));
  return Hit(p0 + b1 * e1 + b2 * e2, depth, footprint);
}
