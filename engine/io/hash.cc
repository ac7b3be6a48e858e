#include "engine/io/hash.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace lockstep::inline v0_1 {
namespace {

static_assert(std::endian::native == std::endian::little, "words are read as they lie in memory");

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5;

template <class T>
T Load(const std::byte* from) {
  T word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

uint64_t Round(uint64_t lane, uint64_t input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

}  // namespace

Hasher::Hasher() : lanes_{kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1} {}

void Hasher::Consume(const std::byte* block) {
  for (size_t i = 0; i < 4; ++i) lanes_[i] = Round(lanes_[i], Load<uint64_t>(block + 8 * i));
}

Hasher& Hasher::Add(std::span<const std::byte> bytes) {
  total_ += bytes.size();
  if (rest_size_ > 0) {
    const size_t taken = std::min(bytes.size(), rest_.size() - rest_size_);
    std::copy_n(bytes.data(), taken, rest_.data() + rest_size_);
    rest_size_ += taken;
    bytes = bytes.subspan(taken);
    if (rest_size_ < rest_.size()) return *this;
    Consume(rest_.data());
    rest_size_ = 0;
  }
  for (; bytes.size() >= rest_.size(); bytes = bytes.subspan(rest_.size())) Consume(bytes.data());
  std::copy(bytes.begin(), bytes.end(), rest_.begin());
  rest_size_ = bytes.size();
  return *this;
}

Hasher& Hasher::AddNumber(uint64_t number) { return Add(std::as_bytes(std::span(&number, 1))); }

uint64_t Hasher::Finish() const {
  uint64_t hash;
  if (total_ >= rest_.size()) {
    hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
           std::rotl(lanes_[3], 18);
    for (const uint64_t lane : lanes_) hash = (hash ^ Round(0, lane)) * kPrime1 + kPrime4;
  } else {
    hash = kPrime5;
  }
  hash += total_;
  size_t i = 0;
  for (; i + 8 <= rest_size_; i += 8) {
    hash = std::rotl(hash ^ Round(0, Load<uint64_t>(&rest_[i])), 27) * kPrime1 + kPrime4;
  }
  if (i + 4 <= rest_size_) {
    hash = std::rotl(hash ^ Load<uint32_t>(&rest_[i]) * kPrime1, 23) * kPrime2 + kPrime3;
    i += 4;
  }
  for (; i < rest_size_; ++i) {
    hash = std::rotl(hash ^ std::to_integer<uint64_t>(rest_[i]) * kPrime5, 11) * kPrime1;
  }
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

uint64_t HashTensors(std::span<const NamedConstTensor> tensors) {
  Hasher hasher;
  for (const auto& [name, tensor] : tensors) {
    const std::string_view type = NameOf(StoredTypeOf(tensor.dtype()));
    hasher.AddNumber(name.size()).Add(name).AddNumber(type.size()).Add(type);
    hasher.AddNumber(static_cast<uint64_t>(tensor.shape().rank()));
    for (const int64_t extent : tensor.shape().dims()) {
      hasher.AddNumber(static_cast<uint64_t>(extent));
    }
    hasher.Add({static_cast<const std::byte*>(tensor.data()), tensor.bytes()});
  }
  return hasher.Finish();
}

std::string HexOf(uint64_t hash) {
  std::string text(16, '0');
  for (size_t i = 16; i-- > 0; hash >>= 4) text[i] = "0123456789abcdef"[hash & 15];
  return text;
}

}  // namespace lockstep
