// Port of csrc/camera/camera.h: the camera, and the ray of a pixel.

struct Frame {
  right: vec4f, down: vec4f, ahead: vec4f,  // rows of the rotation from the local frame
  eye: vec4f, eye_low: vec4f,               // position in the local frame, high and low part
  K: vec4f,                                 // fx fy cx cy, of the rectangle that is drawn
  lens: vec4f,                              // skew, near, sample position inside a pixel
  size: vec4u,                              // width, height, words from row to row, first row
  centre: vec4f, unit: vec4f,               // local position to unit cube: (x - centre) * unit + 0.5
  look: vec4f,                              // photo range / 255, footprint to unit cube (0: no fading)
};

struct Ray {
  direction: vec3f,  // local frame; z = 1 in the camera's frame for perspective lenses, else unit
  length: f32,
  angle: f32,        // square root of the pixel's solid angle
};

fn pinhole_ray(frame: Frame, pixel: vec2u) -> Ray {
  let place = vec2f(pixel) + frame.lens.zw - frame.K.zw;
  let y = place.y / frame.K.y;
  let x = (place.x - frame.lens.x * y) / frame.K.x;
  let direction = frame.right.xyz * x + frame.down.xyz * y + frame.ahead.xyz;
  let far = sqrt(x * x + y * y + 1.0);
  return Ray(direction, far, inverseSqrt(far * far * far * frame.K.x * frame.K.y));
}

// Relative to the camera, as exact as float32 positions allow.
fn from_eye(frame: Frame, point: vec3f) -> vec3f {
  return (point - frame.eye.xyz) - frame.eye_low.xyz;
}
