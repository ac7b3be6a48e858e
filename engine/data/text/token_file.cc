#include "engine/data/text/token_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "engine/io/file.h"
#include "engine/io/mapped_file.h"
#include "engine/io/npy.h"

namespace lockstep::inline v0_1 {
namespace {

using Header = std::array<int32_t, 256>;

struct BinType {
  int32_t magic, version;
  int64_t bytes;  // of a token
};
constexpr BinType kShort{20240520, 1, 2}, kLong{20240801, 7, 4};

template <class T>
std::span<const T> As(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

Status NoTokens(const std::string& path) {
  return Status::Corrupt(path + ": the file holds no tokens");
}

Result<std::shared_ptr<const TokenStream>> OpenBin(const std::string& path, int64_t vocabulary,
                                                   std::shared_ptr<const MappedFile> file) {
  const std::span<const std::byte> bytes = file->bytes();
  Header header{};
  std::memcpy(header.data(), bytes.data(), std::min(sizeof(header), bytes.size()));
  const BinType* type = nullptr;
  for (const BinType& one : {kShort, kLong}) {
    if (header[0] == one.magic) type = one.magic == kShort.magic ? &kShort : &kLong;
  }
  if (type == nullptr) {
    return Status::Corrupt(path + ": begins with neither " + std::to_string(kShort.magic) +
                           " nor " + std::to_string(kLong.magic) +
                           " as .bin files of tokens do, nor as NPY files do; if it holds uint16 "
                           "without a header, say so: data.header = \"no\"");
  }
  if (bytes.size() < sizeof(header)) {
    return Status::Corrupt(path + ": has " + std::to_string(bytes.size()) +
                           " bytes, its header alone should have " +
                           std::to_string(sizeof(header)) + "; it was cut short");
  }
  if (header[1] != type->version) {
    return Status::Corrupt(path + ": is of version " + std::to_string(header[1]) + ", known is " +
                           std::to_string(type->version));
  }
  const auto body = bytes.subspan(sizeof(header));
  const int64_t count = header[2];
  if (count < 0 || count * type->bytes != static_cast<int64_t>(body.size())) {
    return Status::Corrupt(path + ": its header says " + std::to_string(count) + " tokens of " +
                           std::to_string(type->bytes) + " bytes, behind it are " +
                           std::to_string(body.size()) +
                           " bytes; it was cut short, or is longer than its header can say");
  }
  if (count == 0) return NoTokens(path);
  if (type == &kShort)
    return TokenStream::Make(path, As<uint16_t>(body), std::move(file), vocabulary);
  return TokenStream::Make(path, As<uint32_t>(body), std::move(file), vocabulary);
}

Result<std::shared_ptr<const TokenStream>> OpenPlain(const std::string& path, int64_t vocabulary,
                                                     std::shared_ptr<const MappedFile> file) {
  const std::span<const std::byte> bytes = file->bytes();
  if (bytes.size() % 2 != 0) {
    return Status::Corrupt(path + ": has " + std::to_string(bytes.size()) +
                           " bytes, which are no whole number of uint16; it was cut short, or "
                           "is of another kind");
  }
  int32_t magic = 0;
  std::memcpy(&magic, bytes.data(), std::min(sizeof(magic), bytes.size()));
  if (magic == kShort.magic || magic == kLong.magic) {
    return Status::Corrupt(path + ": begins with a header, which would be taken for tokens");
  }
  return TokenStream::Make(path, As<uint16_t>(bytes), std::move(file), vocabulary);
}

Result<std::shared_ptr<const TokenStream>> OpenNpy(const std::string& path, int64_t vocabulary) {
  Result<NpyArray> read = ReadNpy(path);
  if (!read.ok()) return read.status();
  auto array = std::make_shared<NpyArray>(std::move(read).value());
  const StoredTensor& tensor = array->tensor;
  if (tensor.shape.rank() != 1) {
    return Status::Invalid(path + ": is an array of shape " + tensor.shape.ToString() +
                           ", tokens are an array of one dimension");
  }
  if (tensor.shape.size() == 0) return NoTokens(path);
  const std::span<const std::byte> bytes = tensor.data;
  TokenStream::Stored stored;
  switch (tensor.type) {
    case StoredType::kU16:
      stored = As<uint16_t>(bytes);
      break;
    case StoredType::kU32:
      stored = As<uint32_t>(bytes);
      break;
    case StoredType::kI32:
      stored = As<int32_t>(bytes);
      break;
    case StoredType::kI64:
      stored = As<int64_t>(bytes);
      break;
    default:
      return Status::Invalid(path + ": holds " + NameOf(tensor.type) +
                             ", tokens are U16, U32, I32 or I64");
  }
  return TokenStream::Make(path, stored, std::move(array), vocabulary);
}

template <class T>
std::vector<T> Narrowed(std::span<const int32_t> tokens) {
  std::vector<T> narrow(tokens.size());
  std::transform(tokens.begin(), tokens.end(), narrow.begin(),
                 [](int32_t token) { return static_cast<T>(token); });
  return narrow;
}

}  // namespace

Result<std::shared_ptr<const TokenStream>> OpenTokenFile(const std::string& path,
                                                         int64_t vocabulary, TokenFileKind kind) {
  LOCKSTEP_TRY_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const std::span<const std::byte> bytes = file->bytes();
  if (bytes.empty()) return NoTokens(path);
  if (kind == TokenFileKind::kPlain) return OpenPlain(path, vocabulary, std::move(file));
  constexpr std::string_view kNpy = "\x93NUMPY";
  const bool npy =
      bytes.size() >= kNpy.size() && std::memcmp(bytes.data(), kNpy.data(), kNpy.size()) == 0;
  if (npy) return OpenNpy(path, vocabulary);
  return OpenBin(path, vocabulary, std::move(file));
}

Status WriteTokenFile(const std::string& path, std::span<const int32_t> tokens,
                      int64_t vocabulary) {
  const auto count = static_cast<int64_t>(tokens.size());
  for (const int32_t token : tokens) {
    if (token >= 0 && token < vocabulary) continue;
    return Status::Invalid(path + ": token " + std::to_string(token) + " is not in 0 to " +
                           std::to_string(vocabulary - 1));
  }
  if (path.ends_with(".npy")) return WriteNpy(path, ConstTensor(tokens.data(), Shape{count}));
  if (count > std::numeric_limits<int32_t>::max()) {
    return Status::Invalid(path + ": " + std::to_string(count) +
                           " tokens are more than a header of .bin can say; write NAME.npy");
  }
  const bool is_short = vocabulary <= int64_t{1} << 16;
  const BinType& type = is_short ? kShort : kLong;
  const Header header{type.magic, type.version, static_cast<int32_t>(count)};
  const auto write = [&](const auto& body) {
    const std::array<std::span<const std::byte>, 2> parts = {std::as_bytes(std::span(header)),
                                                             std::as_bytes(std::span(body))};
    return WriteFileAtomically(path, parts);
  };
  if (is_short) return write(Narrowed<uint16_t>(tokens));
  return write(Narrowed<uint32_t>(tokens));
}

}  // namespace lockstep
