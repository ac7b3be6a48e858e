#include "engine/io/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <utility>

#include "engine/io/file.h"
#include "engine/io/protobuf.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr size_t kFlushBytes = size_t{64} << 10;

// Field numbers of event.proto and summary.proto in TensorFlow:
//   Event           1 wall_time  2 step  3 file_version  5 summary  7 session_log
//   Summary         1 value;  Value: 1 tag  2 simple_value  5 histo
//   HistogramProto  1 min  2 max  3 num  4 sum  5 sum_squares  6 bucket_limit  7 bucket (packed)
//   SessionLog      1 status (1 is START)
using Message = ProtobufMessage;

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = MakeCrcTable();

// A CRC over data that holds its own CRC is weak; TFRecord therefore stores it disguised.
uint32_t Masked(std::string_view text) {
  const uint32_t crc = Crc32c(std::as_bytes(std::span(text)));
  return std::rotr(crc, 15) + 0xA282EAD8u;
}

template <class T>
std::string_view BytesOf(const T& number) {
  return {reinterpret_cast<const char*>(&number), sizeof(number)};
}

double SystemSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

uint32_t Crc32c(std::span<const std::byte> bytes) {
  uint32_t crc = ~0u;
  for (const std::byte b : bytes) {
    crc = crc >> 8 ^ kCrcTable[(crc ^ std::to_integer<uint32_t>(b)) & 0xFF];
  }
  return ~crc;
}

Histogram MakeHistogram(std::span<const float> values, int buckets) {
  LOCKSTEP_CHECK_GE(buckets, 1);
  Histogram histogram;
  for (const float v : values) {
    if (!std::isfinite(v)) {
      histogram.skipped += 1.0;
      continue;
    }
    const double value = v;
    histogram.min = histogram.count == 0.0 ? value : std::min(histogram.min, value);
    histogram.max = histogram.count == 0.0 ? value : std::max(histogram.max, value);
    histogram.count += 1.0;
    histogram.sum += value;
    histogram.sum_squares += value * value;
  }
  const double range = histogram.max - histogram.min;
  const auto size = static_cast<size_t>(range > 0.0 ? buckets : 1);
  for (size_t i = 1; i < size; ++i) {
    histogram.limits.push_back(histogram.min +
                               range * (static_cast<double>(i) / static_cast<double>(size)));
  }
  histogram.limits.push_back(histogram.max);
  histogram.counts.assign(size, 0.0);
  const double scale = range > 0.0 ? static_cast<double>(size) / range : 0.0;
  for (const float v : values) {
    if (!std::isfinite(v)) continue;
    const auto bucket = static_cast<size_t>((static_cast<double>(v) - histogram.min) * scale);
    histogram.counts[std::min(bucket, size - 1)] += 1.0;
  }
  return histogram;
}

EventWriter::EventWriter(int fd, std::string path, double (*clock)())
    : fd_(fd), path_(std::move(path)), clock_(clock) {}

EventWriter::EventWriter(EventWriter&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      clock_(other.clock_),
      pending_(std::move(other.pending_)) {}

EventWriter::~EventWriter() {
  if (fd_ < 0) return;
  (void)Flush();  // whoever wants to know calls it before
  close(fd_);
}

Result<EventWriter> EventWriter::Open(const std::string& folder, Options options) {
  double (*const clock)() = options.clock != nullptr ? options.clock : SystemSeconds;
  // TensorBoard takes the files of a run in the order of their names.
  auto micros = static_cast<int64_t>(clock() * 1e6);
  std::string path;
  int fd = -1;
  do {
    char name[96];
    std::snprintf(name, sizeof(name), "/events.out.tfevents.%010lld.%06lld.%lld",
                  static_cast<long long>(micros / 1000000),
                  static_cast<long long>(micros % 1000000), static_cast<long long>(getpid()));
    path = folder + name;
    fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    ++micros;
  } while (fd < 0 && (errno == EEXIST || errno == EINTR));
  if (fd < 0) return FileError(path, "write", errno);

  EventWriter writer(fd, path, clock);
  const bool resumed = options.purge_step >= 0;
  Message first;
  first.Double(1, clock());
  if (resumed) first.Varint(2, static_cast<uint64_t>(options.purge_step));
  first.Bytes(3, "brain.Event:2");
  LOCKSTEP_TRY(writer.AddRecord(first.text()));
  if (resumed) {
    Message start;
    start.Double(1, clock()).Varint(2, static_cast<uint64_t>(options.purge_step));
    start.Bytes(7, Message().Varint(1, 1).text());
    LOCKSTEP_TRY(writer.AddRecord(start.text()));
  }
  LOCKSTEP_TRY(writer.Flush());
  return writer;
}

Status EventWriter::AddRecord(std::string_view event) {
  const uint64_t length = event.size();
  const uint32_t length_crc = Masked(BytesOf(length));
  const uint32_t event_crc = Masked(event);
  pending_ += BytesOf(length);
  pending_ += BytesOf(length_crc);
  pending_ += event;
  pending_ += BytesOf(event_crc);
  return pending_.size() < kFlushBytes ? Status::Ok() : Flush();
}

Status EventWriter::AddSummary(int64_t step, std::string_view value) {
  Message event;
  event.Double(1, clock_()).Varint(2, static_cast<uint64_t>(step));
  event.Bytes(5, Message().Bytes(1, value).text());
  return AddRecord(event.text());
}

Status EventWriter::Scalar(std::string_view tag, int64_t step, double value) {
  return AddSummary(step, Message().Bytes(1, tag).Float(2, static_cast<float>(value)).text());
}

Status EventWriter::AddHistogram(std::string_view tag, int64_t step, const Histogram& histogram) {
  Message histo;
  histo.Double(1, histogram.min).Double(2, histogram.max).Double(3, histogram.count);
  histo.Double(4, histogram.sum).Double(5, histogram.sum_squares);
  histo.Doubles(6, histogram.limits).Doubles(7, histogram.counts);
  return AddSummary(step, Message().Bytes(1, tag).Bytes(5, histo.text()).text());
}

Status EventWriter::Flush() {
  const int error = WriteAll(fd_, std::as_bytes(std::span(pending_)));
  pending_.clear();  // also after a failure: a full disk must not fill the memory next
  return error == 0 ? Status::Ok() : FileError(path_, "write", error);
}

}  // namespace lockstep
