// Errors that a user can cause: files, configuration, shapes, communication.
//
// A message is one line that says what is wrong, where, and what to do about it. The library never
// prints and never ends the process; it hands a Status to its caller. Broken invariants inside the
// engine are not errors but bugs (check.h), and other people's code may throw (a layer, a callback,
// a dataset): where the library ends that becomes a Status too (catch.h).
//
// Xlib.h makes `Status` a macro for int. The installed headers can be included before it and after
// it; a file that includes both and names the class says #undef Status first.
#ifndef LOCKSTEP_ENGINE_BASE_STATUS_H_
#define LOCKSTEP_ENGINE_BASE_STATUS_H_

#include <optional>
#include <string>
#include <utility>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {

enum class Code {
  kOk,
  kInvalid,      // an argument, a setting or a shape does not fit
  kNotFound,     // a file, a key or a name is not there
  kCorrupt,      // a file's content contradicts its format
  kIo,           // the operating system refused
  kNonFinite,    // a loss, gradient or parameter became NaN or infinite
  kInterrupted,  // the user asked to stop
  kOutOfMemory,  // a smaller batch or model needs less
  kInternal,     // an exception that nobody meant: the message is its what(); see catch.h
};

// Success, or a code and a message. Cheap to move; copying copies the message. Thread-compatible.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return {}; }
  static Status Invalid(std::string message) { return {Code::kInvalid, std::move(message)}; }
  static Status NotFound(std::string message) { return {Code::kNotFound, std::move(message)}; }
  static Status Corrupt(std::string message) { return {Code::kCorrupt, std::move(message)}; }
  static Status Io(std::string message) { return {Code::kIo, std::move(message)}; }
  static Status NonFinite(std::string message) { return {Code::kNonFinite, std::move(message)}; }

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same error with `where` put in front: "where: message". Does nothing to success.
  Status At(const std::string& where) const {
    return ok() ? *this : Status(code_, where + ": " + message_);
  }

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

// A value, or the Status that says why there is none. value() of a failed Result is a bug and ends
// in a failed check.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT: implicit, so that `return value;` works
  Result(Status status)
      : status_(std::move(status)) {  // NOLINT: implicit, so that `return status;` works
    LOCKSTEP_CHECK(!status_.ok(), "a Result without a value needs an error");
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & {
    LOCKSTEP_CHECK(ok(), status_.message().c_str());
    return *value_;
  }
  const T& value() const& {
    LOCKSTEP_CHECK(ok(), status_.message().c_str());
    return *value_;
  }
  T&& value() && {
    LOCKSTEP_CHECK(ok(), status_.message().c_str());
    return std::move(*value_);
  }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace lockstep

// Leaves the enclosing function with the Status of `expression` unless it is a success.
#define LOCKSTEP_TRY(expression)                                                      \
  do {                                                                                \
    if (auto lockstep_try_ = (expression); !lockstep_try_.ok()) return lockstep_try_; \
  } while (false)

#define LOCKSTEP_CONCAT_INNER_(a, b) a##b
#define LOCKSTEP_CONCAT_(a, b) LOCKSTEP_CONCAT_INNER_(a, b)
// LOCKSTEP_TRY_ASSIGN(auto value, MayFail()): declares `value` from a Result, or leaves with its
// Status.
#define LOCKSTEP_TRY_ASSIGN(declaration, expression) \
  LOCKSTEP_TRY_ASSIGN_(LOCKSTEP_CONCAT_(lockstep_result_, __LINE__), declaration, expression)
#define LOCKSTEP_TRY_ASSIGN_(result, declaration, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) return result.status();                   \
  declaration = std::move(result).value()

#endif  // LOCKSTEP_ENGINE_BASE_STATUS_H_
