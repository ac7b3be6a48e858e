// Ctrl-C, a polite kill and a terminal that goes away ask a run to save and to stop.
#ifndef LOCKSTEP_TOOLS_COMMAND_INTERRUPTS_H_
#define LOCKSTEP_TOOLS_COMMAND_INTERRUPTS_H_

#include <atomic>
#include <csignal>

namespace lockstep::tools {

// While it lives, the first SIGINT, SIGTERM or SIGHUP sets Requested(); the second one, of whatever
// kind, ends the program as if we were not here. What was ignored before (by nohup, or by a shell
// for what it runs in the background) stays ignored. One at a time.
class CatchInterrupts {
 public:
  CatchInterrupts();
  ~CatchInterrupts();
  CatchInterrupts(const CatchInterrupts&) = delete;
  CatchInterrupts& operator=(const CatchInterrupts&) = delete;

  // Of the one that lives, or lived last.
  static const std::atomic<bool>& Requested();

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[3]{};
};

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_INTERRUPTS_H_
