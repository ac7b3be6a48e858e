// NumPy's NPY files: versions 1 to 3 in, version 1 out.
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#ifndef LOCKSTEP_ENGINE_IO_NPY_H_
#define LOCKSTEP_ENGINE_IO_NPY_H_

#include <cstddef>
#include <span>
#include <string>

#include "engine/base/status.h"
#include "engine/io/aligned_bytes.h"
#include "engine/io/stored_tensor.h"

namespace lockstep::inline v0_1 {

// An array in memory: `tensor` (without a name) points into `memory`. Movable.
struct NpyArray {
  StoredTensor tensor;
  AlignedBytes memory;
};

// Little-endian numbers and booleans of at most 5 dimensions. Fortran order (what pandas tends to
// save) is transposed into row-major on the way. Objects are refused: nothing is ever unpickled.
Result<NpyArray> ReadNpy(const std::string& path);
// The same from memory. Untrusted input.
Result<NpyArray> ParseNpy(std::span<const std::byte> file);

// Atomic. bf16 is refused, as NumPy has no such type: convert it before.
Status WriteNpy(const std::string& path, ConstTensor tensor);
Status WriteNpy(const std::string& path, const StoredTensor& tensor);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_NPY_H_
