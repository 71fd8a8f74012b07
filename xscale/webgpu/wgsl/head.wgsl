// Port of csrc/shade/math.h: what both shaders end with.

fn sigmoid(x: vec3f) -> vec3f {
  // Held where exp is finite; the result is 0 or 1 there.
  return 1.0 / (1.0 + exp(-clamp(x, vec3f(-80.0), vec3f(80.0))));
}

// Linear light to sRGB, with the tangent at 1 above it.
fn srgb(linear: vec3f) -> vec3f {
  let inside = clamp(linear, vec3f(0.0031308), vec3f(1.0));
  let power = 1.055 * pow(inside, vec3f(1.0 / 2.4)) - 0.055;
  let bright = 1.055 / 2.4 * (linear - 1.0) + 1.0;
  return select(select(power, bright, linear > vec3f(1.0)), 12.92 * linear, linear <= vec3f(0.0031308));
}
