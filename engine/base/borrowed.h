// A pointer to something of someone else's that goes with a move: what was moved from borrows
// nothing any more, and can say so.
#ifndef LOCKSTEP_ENGINE_BASE_BORROWED_H_
#define LOCKSTEP_ENGINE_BASE_BORROWED_H_

#include <utility>

namespace lockstep::inline v0_1 {

template <class T>
class Borrowed {
 public:
  Borrowed(T* pointer = nullptr) : pointer_(pointer) {}  // NOLINT: implicit, it is one
  Borrowed(const Borrowed&) = default;
  Borrowed& operator=(const Borrowed&) = default;
  Borrowed(Borrowed&& other) noexcept : pointer_(std::exchange(other.pointer_, nullptr)) {}
  Borrowed& operator=(Borrowed&& other) noexcept {
    pointer_ = std::exchange(other.pointer_, nullptr);
    return *this;
  }

  explicit operator bool() const { return pointer_ != nullptr; }
  T* operator->() const { return pointer_; }
  T& operator*() const { return *pointer_; }

 private:
  T* pointer_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_BASE_BORROWED_H_
