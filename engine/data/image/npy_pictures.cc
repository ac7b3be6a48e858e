#include "engine/data/image/npy_pictures.h"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/data/image/class_numbers.h"
#include "engine/io/npy.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kMostChannels = 4;

Result<std::vector<int32_t>> ReadLabels(const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(const NpyArray array, ReadNpy(path));
  const Shape& shape = array.tensor.shape;
  if (shape.rank() == 0 || shape.size() != shape[0]) {
    return Status::Corrupt(path + ": labels have the shape (N) or (N, 1), these have " +
                           shape.ToString() + "; are the files swapped?");
  }
  if (array.tensor.type == StoredType::kF64 || array.tensor.type == StoredType::kF32 ||
      array.tensor.type == StoredType::kF16) {
    return Status::Corrupt(path + ": labels are whole numbers, these are " +
                           NameOf(array.tensor.type) + "; save them as int64");
  }
  std::vector<int32_t> labels(static_cast<size_t>(shape.size()));
  const Status converted = ConvertInto(array.tensor, Tensor(labels.data(), Shape{shape[0]}));
  if (!converted.ok()) return converted.At(path);
  return labels;
}

template <class T>
std::vector<T> CopyOf(const StoredTensor& tensor) {
  std::vector<T> values(static_cast<size_t>(tensor.shape.size()));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

}  // namespace

Result<std::shared_ptr<const InMemoryDataset>> LoadNpyPictures(const std::string& pictures,
                                                               const std::string& labels,
                                                               ByteScale byte_scale) {
  LOCKSTEP_TRY_ASSIGN(std::vector<int32_t> targets, ReadLabels(labels));
  LOCKSTEP_TRY_ASSIGN(const NpyArray array, ReadNpy(pictures));
  const StoredTensor& tensor = array.tensor;
  const Shape& shape = tensor.shape;
  if (shape.rank() != 3 && shape.rank() != 4) {
    return Status::Corrupt(pictures +
                           ": pictures have the shape (N, H, W) or (N, H, W, C), these " + "have " +
                           shape.ToString() + "; are the files swapped?");
  }
  const int64_t channels = shape.rank() == 4 ? shape[3] : 1;
  if (shape.size() == 0 || channels > kMostChannels) {
    return Status::Corrupt(pictures +
                           ": pictures have the shape (N, H, W, C) with 1 to 4 channels, "
                           "which come last; these have " +
                           shape.ToString() +
                           (channels > kMostChannels ? "; numpy.moveaxis(x, 1, -1) brings "
                                                       "channels from the second place to the last"
                                                     : ""));
  }
  if (shape[0] != static_cast<int64_t>(targets.size())) {
    return Status::Corrupt(pictures + ": holds " + std::to_string(shape[0]) + " pictures, but " +
                           labels + " holds " + std::to_string(targets.size()) +
                           " labels; they do not belong together");
  }
  LOCKSTEP_TRY_ASSIGN(const std::vector<int32_t> numbers, ClassNumbers(targets, labels));
  LOCKSTEP_TRY(ToPlaces(numbers, labels, targets));
  DatasetInfo info{.name = pictures,
                   .size = shape[0],
                   .x_shape = {shape[1], shape[2], channels},
                   .classes = static_cast<int64_t>(numbers.size()),
                   .class_names = ClassNamesOf(numbers)};
  InMemoryDataset::X x;
  if (tensor.type == StoredType::kU8) {
    x = CopyOf<uint8_t>(tensor);
  } else if (tensor.type == StoredType::kF32) {
    x = CopyOf<float>(tensor);
  } else {
    return Status::Corrupt(pictures + ": pictures are U8 or F32, these are " + NameOf(tensor.type) +
                           "; save them with .astype(numpy.uint8) or .astype(numpy.float32)");
  }
  return InMemoryDataset::Make(std::move(info), std::move(x), std::move(targets), byte_scale);
}

}  // namespace lockstep
