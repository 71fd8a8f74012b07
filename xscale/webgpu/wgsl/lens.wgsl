// Port of csrc/camera/camera.h: rays of lenses that bend them, made on the host in float64.

fn texture_ray(pixel: vec2u) -> Ray {
  let found = textureLoad(rays, pixel, 0);
  return Ray(found.xyz, length(found.xyz), found.w);
}
