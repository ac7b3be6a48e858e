#include "engine/data/image/idx.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>

#include "engine/data/byte_source.h"
#include "engine/data/image/class_numbers.h"
#include "engine/data/image/idx_names.h"
#include "engine/io/file_kind.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr size_t kMaxRank = 4;
// The first piece of memory for elements whose number only a header claims; it doubles as data
// arrives.
constexpr size_t kFirstPiece = size_t{1} << 20;

uint32_t BigEndian32(const uint8_t* b) {
  return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3];
}

std::string Bytes(int64_t count) { return std::to_string(count) + " bytes"; }

struct Header {
  uint8_t type = 0;
  Shape shape;
  int64_t count = 0;  // of elements
};

// The size of an element type, or 0 if it is none.
int64_t ElementSize(uint8_t type) {
  switch (type) {
    case 0x08:
    case 0x09:
      return 1;
    case 0x0B:
      return 2;
    case 0x0C:
    case 0x0D:
      return 4;
    case 0x0E:
      return 8;
    default:
      return 0;
  }
}

Status EndsWithin(const std::string& path, const std::string& where) {
  return Status::Corrupt(path + ": ends within " + where + "; fetch the file again");
}

Result<Header> ReadHeader(ByteSource& source, const std::string& path, int64_t max_bytes) {
  std::array<uint8_t, 4> magic{};
  LOCKSTEP_TRY_ASSIGN(const size_t got, source.Read(magic));
  if (got < magic.size()) return EndsWithin(path, "its first four bytes");
  Header header;
  header.type = magic[2];
  const int64_t element = ElementSize(magic[2]);
  const size_t rank = magic[3];
  if (magic[0] != 0 || magic[1] != 0 || element == 0) {
    std::string kind(FileKindAt(path));
    if (kind == "packed with gzip") kind.clear();  // it was unpacked on the way
    return Status::Corrupt(
        path + ": is " + (kind.empty() ? "" : kind + ", ") +
        "not an IDX file (which begins with two zero bytes and an element type)");
  }
  if (rank == 0 || rank > kMaxRank) {
    return Status::Corrupt(path + ": has " + std::to_string(rank) +
                           " dimensions; 1 to 4 are supported");
  }
  std::array<uint8_t, 4 * kMaxRank> extents{};
  LOCKSTEP_TRY_ASSIGN(const size_t extent_bytes, source.Read(std::span(extents.data(), 4 * rank)));
  if (extent_bytes < 4 * rank) return EndsWithin(path, "its header");

  std::array<int64_t, kMaxRank> dims{};
  header.count = 1;
  for (size_t i = 0; i < rank; ++i) {
    dims[i] = BigEndian32(extents.data() + 4 * i);
    if (dims[i] == 0) {
      return Status::Corrupt(path + ": dimension " + std::to_string(i) + " is 0");
    }
    // Both factors and the limit are checked before they are multiplied.
    if (dims[i] > max_bytes / element / header.count) {
      return Status::Corrupt(path + ": its header claims more than the limit of " +
                             Bytes(max_bytes) + "; the file is damaged, or the limit too low");
    }
    header.count *= dims[i];
  }
  header.shape = Shape(std::span<const int64_t>(dims.data(), rank));
  const int64_t want = static_cast<int64_t>(4 + 4 * rank) + header.count * element;
  if (source.size() >= 0 && source.size() != want) {
    return Status::Corrupt(path + ": has " + Bytes(source.size()) + ", but its header claims " +
                           Bytes(want) + "; fetch the file again");
  }
  return header;
}

template <class T>
T FromBigEndian(T stored) {
  if constexpr (sizeof(T) == 1 || std::endian::native == std::endian::big) {
    return stored;
  } else {
    auto bytes = std::bit_cast<std::array<uint8_t, sizeof(T)>>(stored);
    std::reverse(bytes.begin(), bytes.end());
    return std::bit_cast<T>(bytes);
  }
}

template <class T>
Result<std::vector<T>> ReadElements(ByteSource& source, const std::string& path, int64_t count) {
  const auto want = static_cast<size_t>(count);
  std::vector<T> elements;
  while (elements.size() < want) {
    const size_t have = elements.size();
    const size_t next = std::min(want, std::max(kFirstPiece / sizeof(T), 2 * have));
    elements.reserve(next);  // exactly, where resize might take twice the whole
    elements.resize(next);
    const size_t piece = (next - have) * sizeof(T);
    auto* bytes = reinterpret_cast<uint8_t*>(elements.data() + have);
    LOCKSTEP_TRY_ASSIGN(const size_t got, source.Read(std::span(bytes, piece)));
    if (got < piece) {
      return Status::Corrupt(path + ": ends after " + std::to_string(have + got / sizeof(T)) +
                             " of " + std::to_string(want) + " elements; fetch the file again");
    }
  }
  uint8_t extra = 0;
  LOCKSTEP_TRY_ASSIGN(const size_t got, source.Read(std::span(&extra, 1)));
  if (got > 0) {
    return Status::Corrupt(path + ": goes on after the " + std::to_string(want) +
                           " elements that its header claims; fetch the file again");
  }
  for (T& element : elements) element = FromBigEndian(element);
  return elements;
}

Result<std::vector<int32_t>> ReadLabels(const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(const IdxArray array, LoadIdx(path));
  if (array.shape.rank() != 1) {
    return Status::Corrupt(path + ": labels have one dimension, these have " +
                           std::to_string(array.shape.rank()) + "; are the files swapped?");
  }
  return std::visit(
      [&](const auto& elements) -> Result<std::vector<int32_t>> {
        using T = typename std::decay_t<decltype(elements)>::value_type;
        if constexpr (std::is_floating_point_v<T>) {
          return Status::Corrupt(path + ": labels are whole numbers, these are not");
        } else {
          return std::vector<int32_t>(elements.begin(), elements.end());
        }
      },
      array.elements);
}

Result<InMemoryDataset::X> ImagesOf(IdxArray array, const std::string& path) {
  return std::visit(
      [&](auto& elements) -> Result<InMemoryDataset::X> {
        using T = typename std::decay_t<decltype(elements)>::value_type;
        if constexpr (std::is_same_v<T, uint8_t> || std::is_same_v<T, float>) {
          return InMemoryDataset::X(std::move(elements));
        } else {
          std::vector<float> values(elements.size());
          for (size_t i = 0; i < values.size(); ++i) {
            values[i] = static_cast<float>(elements[i]);
            if (std::isfinite(values[i])) continue;
            return Status::Corrupt(path + ": element " + std::to_string(i) +
                                   " is not a finite 32-bit float");
          }
          return InMemoryDataset::X(std::move(values));
        }
      },
      array.elements);
}

Shape SampleShape(const Shape& all) {
  switch (all.rank()) {
    case 2:
      return {all[1]};
    case 3:
      return {all[1], all[2], 1};
    default:
      return {all[1], all[2], all[3]};
  }
}

// `targets`: the labels that stand in the file `labels`.
Result<std::shared_ptr<const InMemoryDataset>> Pair(const std::string& images,
                                                    const std::string& labels,
                                                    std::vector<int32_t> targets,
                                                    const IdxPairOptions& options) {
  LOCKSTEP_TRY_ASSIGN(IdxArray image_array, LoadIdx(images));
  const Shape shape = image_array.shape;
  if (shape.rank() < 2) {
    return Status::Corrupt(images +
                           ": images have two to four dimensions, these have one; are the "
                           "files swapped?");
  }
  if (shape[0] != static_cast<int64_t>(targets.size())) {
    return Status::Corrupt(images + ": holds " + std::to_string(shape[0]) + " images, but " +
                           labels + " holds " + std::to_string(targets.size()) +
                           " labels; they do not belong together");
  }
  LOCKSTEP_TRY_ASSIGN(std::vector<int32_t> numbers, ClassNumbers(targets, labels));
  if (!options.class_numbers.empty()) numbers = options.class_numbers;
  LOCKSTEP_TRY(ToPlaces(numbers, labels, targets));
  LOCKSTEP_TRY_ASSIGN(InMemoryDataset::X x, ImagesOf(std::move(image_array), images));
  DatasetInfo info{.name = images,
                   .size = shape[0],
                   .x_shape = SampleShape(shape),
                   .classes = static_cast<int64_t>(numbers.size()),
                   .class_names = ClassNamesOf(numbers)};
  return InMemoryDataset::Make(std::move(info), std::move(x), std::move(targets),
                               options.byte_scale);
}

}  // namespace

Result<IdxArray> LoadIdx(const std::string& path, int64_t max_bytes) {
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<ByteSource> source, OpenFile(path));
  LOCKSTEP_TRY_ASSIGN(const Header header, ReadHeader(*source, path, max_bytes));
  IdxArray array;
  array.shape = header.shape;
  const auto read = [&]<class T>(std::vector<T> /*type*/) -> Status {
    LOCKSTEP_TRY_ASSIGN(array.elements, ReadElements<T>(*source, path, header.count));
    return Status::Ok();
  };
  switch (header.type) {
    case 0x08:
      LOCKSTEP_TRY(read(std::vector<uint8_t>()));
      break;
    case 0x09:
      LOCKSTEP_TRY(read(std::vector<int8_t>()));
      break;
    case 0x0B:
      LOCKSTEP_TRY(read(std::vector<int16_t>()));
      break;
    case 0x0C:
      LOCKSTEP_TRY(read(std::vector<int32_t>()));
      break;
    case 0x0D:
      LOCKSTEP_TRY(read(std::vector<float>()));
      break;
    default:
      LOCKSTEP_TRY(read(std::vector<double>()));
      break;
  }
  return array;
}

Result<std::shared_ptr<const InMemoryDataset>> LoadIdxPair(const std::string& images,
                                                           const std::string& labels,
                                                           const IdxPairOptions& options) {
  LOCKSTEP_TRY_ASSIGN(std::vector<int32_t> targets, ReadLabels(labels));
  return Pair(images, labels, std::move(targets), options);
}

Result<MnistData> LoadMnist(const std::string& path, ByteScale byte_scale) {
  LOCKSTEP_TRY_ASSIGN(const IdxFiles files, FindIdxFiles(path));
  // The labels of both first: a small part of a set may lack a class that the other has.
  LOCKSTEP_TRY_ASSIGN(std::vector<int32_t> train, ReadLabels(files.train_labels));
  LOCKSTEP_TRY_ASSIGN(std::vector<int32_t> test, ReadLabels(files.test_labels));
  LOCKSTEP_TRY_ASSIGN(const std::vector<int32_t> trained, ClassNumbers(train, files.train_labels));
  std::vector<int32_t> both = train;
  both.insert(both.end(), test.begin(), test.end());
  IdxPairOptions options{.byte_scale = byte_scale};
  LOCKSTEP_TRY_ASSIGN(options.class_numbers, ClassNumbers(both, files.test_labels));
  MnistData data;
  LOCKSTEP_TRY_ASSIGN(data.train,
                      Pair(files.train_images, files.train_labels, std::move(train), options));
  LOCKSTEP_TRY_ASSIGN(data.test,
                      Pair(files.test_images, files.test_labels, std::move(test), options));
  if (data.train->info().x_shape != data.test->info().x_shape) {
    return Status::Corrupt(path + ": training images of shape " +
                           data.train->info().x_shape.ToString() + " and test images of shape " +
                           data.test->info().x_shape.ToString() + " do not belong together");
  }
  data.remark = ClassNumbersRemark(data.train->info().class_names, files.train_labels);
  if (trained.size() < options.class_numbers.size()) {
    data.remark += (data.remark.empty() ? path + ": " : "; ") +
                   std::to_string(options.class_numbers.size() - trained.size()) +
                   " of the classes occur in " + files.test_labels +
                   " alone: nothing is learned of them";
  }
  return data;
}

}  // namespace lockstep
