// Memory for what was read from a file: begins at a cache line, not initialised.
#ifndef LOCKSTEP_ENGINE_IO_ALIGNED_BYTES_H_
#define LOCKSTEP_ENGINE_IO_ALIGNED_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

namespace lockstep::inline v0_1 {

// Owns its bytes; moving keeps their address. Default-made and moved-from objects are empty.
class AlignedBytes {
 public:
  static constexpr size_t kAlignment = 64;

  AlignedBytes() = default;
  AlignedBytes(AlignedBytes&& other) noexcept
      : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  AlignedBytes& operator=(AlignedBytes&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  // Empty if the system has no such memory: sizes come from files, so this is an error to report,
  // not an exception. At least one cache line is held, so that data() of a success is never null.
  static AlignedBytes Allocate(size_t size) {
    AlignedBytes bytes;
    if (size > SIZE_MAX - kAlignment) return bytes;
    const size_t rounded = (size / kAlignment + 1) * kAlignment;
    bytes.data_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)));
    if (bytes.data_ != nullptr) bytes.size_ = size;
    return bytes;
  }

  std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_ALIGNED_BYTES_H_
