#include "tools/command/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "engine/io/file.h"

namespace lockstep::inline v0_1::tools {
namespace {

std::string_view Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Terminal TerminalOf(std::FILE* stream) {
  Terminal terminal;
  const int fd = fileno(stream);
  terminal.is_one = isatty(fd) == 1;
  if (!terminal.is_one) return terminal;
  const std::string_view kind = Environment("TERM");
  terminal.cursor = !kind.empty() && kind != "dumb";
  terminal.color = terminal.cursor && Environment("NO_COLOR").empty();
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0) return terminal;
  if (size.ws_col > 0) terminal.columns = size.ws_col;
  if (size.ws_row > 0) terminal.rows = size.ws_row;
  return terminal;
}

bool Say(const std::string& text, std::FILE* out) {
  errno = 0;
  return (std::fwrite(text.data(), 1, text.size(), out) == text.size() && std::fflush(out) == 0) ||
         errno != EPIPE;
}

Status OutputStatus() {
  if (std::fflush(stdout) != 0) return FileError("standard output", "write", errno);
  if (std::ferror(stdout) == 0) return Status::Ok();
  return Status::Io(
      "standard output: not all that was printed could be written; is its disk full, or its "
      "terminal closed?");
}

void KeepStandardStreams() {
  // Read only, so that writing to output or error fails as it does where they are closed.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) (void)open("/dev/null", O_RDONLY);
  }
}

}  // namespace lockstep::tools
