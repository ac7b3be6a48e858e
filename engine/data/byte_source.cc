#include "engine/data/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace lockstep::inline v0_1 {
namespace {

std::string SystemText(int error) { return std::generic_category().message(error); }

class File final : public ByteSource {
 public:
  // `size`: of the text, -1 where it is compressed; `stored`: of the file, 0 where it is no regular
  // one.
  File(std::string path, gzFile file, int64_t size, int64_t stored)
      : path_(std::move(path)), file_(file), size_(size), stored_(stored) {}
  ~File() override { gzclose_r(file_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  Result<size_t> Read(std::span<uint8_t> into) override {
    size_t done = 0;
    while (done < into.size()) {
      const auto piece = static_cast<unsigned>(std::min(into.size() - done, size_t{1} << 30));
      errno = 0;
      const int got = gzread(file_, into.data() + done, piece);
      const int system_error = errno;
      int error = Z_OK;
      const char* text = gzerror(file_, &error);
      if (error == Z_BUF_ERROR) {
        return Status::Corrupt(path_ + ": the compressed data ends early; fetch the file again");
      }
      if (got < 0 && error == Z_ERRNO) {
        return Status::Io(path_ + ": cannot be read: " + SystemText(system_error));
      }
      if (got < 0) {
        return Status::Corrupt(path_ + ": the compressed data is damaged (" + text +
                               "); fetch the file again");
      }
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  int64_t size() const override { return size_; }
  double share() const override {
    if (stored_ == 0) return 0.0;
    return std::clamp(static_cast<double>(gzoffset(file_)) / static_cast<double>(stored_), 0.0,
                      1.0);
  }

 private:
  std::string path_;
  gzFile file_;
  int64_t size_, stored_;
};

class Text final : public ByteSource {
 public:
  explicit Text(std::string_view text) : text_(text) {}

  Result<size_t> Read(std::span<uint8_t> into) override {
    const size_t count = std::min(into.size(), text_.size() - next_);
    if (count > 0) std::memcpy(into.data(), text_.data() + next_, count);
    next_ += count;
    return count;
  }
  int64_t size() const override { return static_cast<int64_t>(text_.size()); }
  double share() const override {
    return static_cast<double>(next_) / static_cast<double>(std::max<size_t>(text_.size(), 1));
  }

 private:
  std::string_view text_;
  size_t next_ = 0;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> OpenFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) {
      return Status::NotFound(path + ": there is no such file; check the path");
    }
    return Status::Io(path + ": cannot be opened: " + SystemText(error));
  }
  struct stat info {};
  if (fstat(fd, &info) != 0 || S_ISDIR(info.st_mode)) {
    close(fd);
    return Status::Invalid(path + ": is a folder; give the path of a file in it");
  }
  gzFile file = gzdopen(fd, "rb");
  if (file == nullptr) {
    close(fd);
    return Status::Io(path + ": cannot be opened: too little memory");
  }
  gzbuffer(file, 64 * 1024);
  const bool plain = gzdirect(file) == 1;  // looks at the first bytes
  const int64_t stored = S_ISREG(info.st_mode) ? static_cast<int64_t>(info.st_size) : 0;
  return std::unique_ptr<ByteSource>(
      std::make_unique<File>(path, file, plain && S_ISREG(info.st_mode) ? stored : -1, stored));
}

std::unique_ptr<ByteSource> OpenText(std::string_view text) { return std::make_unique<Text>(text); }

std::string ShownText(std::string_view text) {
  constexpr size_t kLongest = 40;
  std::string shown = "\"";
  for (const char c : text.substr(0, kLongest)) {
    shown += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '.' : c;
  }
  return shown + (text.size() > kLongest ? "...\"" : "\"");
}

}  // namespace lockstep
