#include "tools/command/interrupts.h"

#include <cstddef>
#include <iterator>

namespace lockstep::inline v0_1::tools {
namespace {

// A handler has no argument of ours.
std::atomic<bool> stop_requested{false};
std::atomic<bool> interrupted{false};  // by SIGINT
static_assert(std::atomic<bool>::is_always_lock_free);

void Ask(int number) {
  stop_requested = true;
  if (number != SIGINT || !interrupted.exchange(true)) return;
  // Comes through once this handler returns.
  std::signal(number, SIG_DFL);
  std::raise(number);
}

}  // namespace

CatchInterrupts::CatchInterrupts() {
  stop_requested = interrupted = false;
  struct sigaction action {};
  action.sa_handler = Ask;
  action.sa_flags = SA_RESTART;  // what is being written is written to its end
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);
  }
}

CatchInterrupts::~CatchInterrupts() {
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &before_[i], nullptr);
}

const std::atomic<bool>& CatchInterrupts::Requested() { return stop_requested; }

}  // namespace lockstep::tools
