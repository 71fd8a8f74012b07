// Port of csrc/rasterize/rasterize.h: the corners of faces. A mesh larger than a binding comes in pieces.

struct Piece { first: u32, faces: u32, pad0: u32, pad1: u32 };  // its faces in the whole mesh

@group(0) @binding(0) var<uniform> frame: Frame;
@group(0) @binding(1) var<uniform> piece: Piece;
@group(0) @binding(2) var<storage, read> vertices: array<f32>;
@group(0) @binding(3) var<storage, read> faces: array<u32>;

// Corner of the piece's faces, three a face. The two highest bits of a face's first corner belong
// to its sides.
fn corner(index: u32) -> vec3f {
  let v = 3u * (faces[index] & 0x3fffffffu);
  return vec3f(vertices[v], vertices[v + 1u], vertices[v + 2u]);
}
