// A borrowed callable: two pointers, no allocation. Valid only while the callable it was made from
// lives.
#ifndef LOCKSTEP_ENGINE_PARALLEL_FUNCTION_REF_H_
#define LOCKSTEP_ENGINE_PARALLEL_FUNCTION_REF_H_

#include <memory>
#include <type_traits>
#include <utility>

namespace lockstep::inline v0_1 {

template <class Signature>
class FunctionRef;

template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& callable)  // NOLINT: implicit, so that a lambda can be passed
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}

  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PARALLEL_FUNCTION_REF_H_
