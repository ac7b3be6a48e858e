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

namespace lockstep {

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
// integers from 0; there are max + 1 classes, or `classes` if that is given.
struct IdxPairOptions {
  ByteScale byte_scale = {};
  int64_t classes = 0;
};
Result<std::shared_ptr<const InMemoryDataset>> LoadIdxPair(const std::string& images,
                                                           const std::string& labels,
                                                           const IdxPairOptions& options = {});

// The four files by their usual names, each with or without ".gz". An error lists what is missing.
struct MnistData {
  std::shared_ptr<const InMemoryDataset> train, test;  // 10 classes, x (28, 28, 1)
};
Result<MnistData> LoadMnist(const std::string& folder, ByteScale byte_scale = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_IDX_H_
