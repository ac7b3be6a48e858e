// IDX files (the format of MNIST), plain or gzip-compressed.
//
// Magic 0, 0, element type, rank; then `rank` extents as big-endian 32-bit numbers; then the
// elements, big-endian, row-major.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_IDX_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_IDX_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"

namespace lockstep::inline v0_1 {

struct IdxArray {
  Shape shape;  // rank 1 to 4
  std::variant<std::vector<uint8_t>, std::vector<int8_t>, std::vector<int16_t>,
               std::vector<int32_t>, std::vector<float>, std::vector<double>>
      elements;
};

// Memory grows with the data that arrived, never with what a header claims. Errors: not IDX, an
// extent of 0, more than max_bytes of elements, a file that is shorter or longer than its header
// says, or damaged compression.
Result<IdxArray> LoadIdx(const std::string& path, int64_t max_bytes = int64_t{8} << 30);

// Images (N, H, W) become (H, W, 1), (N, H, W, C) stay (H, W, C), vectors (N, F) stay (F). Bytes
// stay bytes and are scaled when gathered; other types become f32 as they are. Labels (N) are
// integers of any type from 0 on; the classes are those that occur, named by their labels, or those
// of `class_numbers` (rising), where they are given (class_numbers.h).
struct IdxPairOptions {
  ByteScale byte_scale = {};
  std::vector<int32_t> class_numbers = {};
};
Result<std::shared_ptr<const InMemoryDataset>> LoadIdxPair(const std::string& images,
                                                           const std::string& labels,
                                                           const IdxPairOptions& options = {});

// The four files of MNIST, or of a set that is named after it, found as FindIdxFiles does
// (idx_names.h). The classes are those of both parts.
struct MnistData {
  std::shared_ptr<const InMemoryDataset> train, test;
  std::string remark{};  // what the user should be told: labels that do not count from 0
};
Result<MnistData> LoadMnist(const std::string& path, ByteScale byte_scale = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_IDX_H_
