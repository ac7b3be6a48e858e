// A cable between two network namespaces, for kernels without netem: what enters at one end leaves
// at the other, at a rate and after a delay.
//
//   cable NAMESPACE NAMESPACE MEGABITS MILLISECONDS
//
// makes a device "cable" (a tap) in each, says "ready", and carries frames until it is killed, or
// its parent ends.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

// The file of a new tap in the namespace; -1 with a word on standard error.
int OpenTap(const std::string& name) {
  int tap = -1;
  // In a thread of its own, which is all that changes its namespace.
  std::thread([&] {
    const int space = open(("/var/run/netns/" + name).c_str(), O_RDONLY);
    if (space < 0 || setns(space, CLONE_NEWNET) != 0) return std::perror(name.c_str());
    close(space);
    tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    ifreq request = {};
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    std::strcpy(request.ifr_name, "cable");
    if (tap < 0 || ioctl(tap, TUNSETIFF, &request) != 0) {
      std::perror("/dev/net/tun");
      tap = -1;
    }
  }).join();
  return tap;
}

struct Frame {
  Clock::time_point arrives;
  std::vector<char> bytes;
};

// One direction.
struct Line {
  int from = -1, to = -1;
  double seconds_per_byte = 0.0;
  std::chrono::nanoseconds delay{};
  Clock::time_point free{};  // when the last frame has wholly entered
  std::deque<Frame> under_way{};

  void Take() {
    char buffer[65536];
    for (ssize_t n; under_way.size() < 10000 && (n = read(from, buffer, sizeof(buffer))) > 0;) {
      free = std::max(free, Clock::now()) + std::chrono::nanoseconds(static_cast<int64_t>(
                                                1e9 * seconds_per_byte * static_cast<double>(n)));
      under_way.push_back({free + delay, std::vector<char>(buffer, buffer + n)});
    }
  }
  void Deliver() {
    for (; !under_way.empty() && under_way.front().arrives <= Clock::now(); under_way.pop_front()) {
      const std::vector<char>& bytes = under_way.front().bytes;
      if (write(to, bytes.data(), bytes.size()) < 0) continue;  // as on any cable, it is lost
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  prctl(PR_SET_TIMERSLACK, 1);
  const int a = OpenTap(argv[1]), b = OpenTap(argv[2]);
  if (a < 0 || b < 0) return 1;
  const double per_byte = 8e-6 / std::atof(argv[3]);
  const std::chrono::nanoseconds delay(static_cast<int64_t>(1e6 * std::atof(argv[4])));
  Line lines[] = {{.from = a, .to = b, .seconds_per_byte = per_byte, .delay = delay},
                  {.from = b, .to = a, .seconds_per_byte = per_byte, .delay = delay}};
  std::printf("ready\n");
  std::fflush(stdout);
  for (;;) {
    auto next = Clock::now() + std::chrono::seconds(1);
    for (Line& line : lines) {
      line.Take();
      line.Deliver();
      if (!line.under_way.empty()) next = std::min(next, line.under_way.front().arrives);
    }
    pollfd files[] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
    const auto left =
        std::max(std::chrono::nanoseconds(0), std::chrono::nanoseconds(next - Clock::now()));
    const timespec wait = {.tv_sec = static_cast<time_t>(left.count() / 1000000000),
                           .tv_nsec = static_cast<long>(left.count() % 1000000000)};
    ppoll(files, 2, &wait, nullptr);
  }
}
