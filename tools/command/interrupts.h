// Ctrl-C, a polite kill, a terminal that goes away and the signals of schedulers ask a run to save
// and to stop.
#ifndef LOCKSTEP_TOOLS_COMMAND_INTERRUPTS_H_
#define LOCKSTEP_TOOLS_COMMAND_INTERRUPTS_H_

#include <atomic>
#include <csignal>

namespace lockstep::inline v0_1::tools {

// While it lives, SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 set Requested(), and nothing else:
// what they ask for happens between two steps. A second SIGINT (somebody insists) ends the program
// as if we were not here; launchers and schedulers may send the others again and again. What was
// ignored before (by nohup, or by a shell for what it runs in the background) stays ignored. One at
// a time.
class CatchInterrupts {
 public:
  CatchInterrupts();
  ~CatchInterrupts();
  CatchInterrupts(const CatchInterrupts&) = delete;
  CatchInterrupts& operator=(const CatchInterrupts&) = delete;

  // Of the one that lives, or lived last.
  static const std::atomic<bool>& Requested();

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
  struct sigaction before_[5]{};
};

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_INTERRUPTS_H_
