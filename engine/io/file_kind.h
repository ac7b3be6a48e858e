// What a file is by how it begins, for readers of another kind: a message that says "is a Parquet
// table" helps more than one that says what its third byte is not.
#ifndef LOCKSTEP_ENGINE_IO_FILE_KIND_H_
#define LOCKSTEP_ENGINE_IO_FILE_KIND_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace lockstep::inline v0_1 {

// So many bytes of the beginning are enough.
inline constexpr size_t kFileKindBytes = 512;

struct KnownFile {
  std::string_view kind{};      // "a Parquet table", "a NumPy array (NPY)"; empty: not known
  std::string_view to_table{};  // how to make a text of rows and columns of it, where that is known
};
// Kinds that are ZIP archives inside (XLSX, NPZ, PyTorch's) are told by the name of their first
// file.
KnownFile FileKindOf(std::string_view begin);
inline std::string_view FileKind(std::string_view begin) { return FileKindOf(begin).kind; }
// The same of the file at `path`; empty where it cannot be read.
std::string_view FileKindAt(const std::string& path);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_FILE_KIND_H_
