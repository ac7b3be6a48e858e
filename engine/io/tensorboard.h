// TensorBoard event files: scalars and histograms.
#ifndef LOCKSTEP_ENGINE_IO_TENSORBOARD_H_
#define LOCKSTEP_ENGINE_IO_TENSORBOARD_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// Counts of values by bucket: bucket i holds (limits[i-1], limits[i]].
struct Histogram {
  double min = 0.0, max = 0.0;  // of the finite values; zero if there are none
  double count = 0.0;           // finite values
  double sum = 0.0, sum_squares = 0.0;
  double skipped = 0.0;  // infinite values and NaN
  std::vector<double> limits;
  std::vector<double> counts;
};

// `buckets` of equal width between the smallest and the largest finite value; one bucket if all are
// equal.
Histogram MakeHistogram(std::span<const float> values, int buckets = 64);

// One file "events.out.tfevents.SECONDS.MICROS.PID" in `folder`. Events are collected and reach
// the file with Flush(), at destruction, and whenever 64 KiB have gathered. Movable;
// thread-compatible.
class EventWriter {
 public:
  struct Options {
    // When a run goes on after a stop: TensorBoard is told to forget what earlier files say about
    // this step and later ones. Negative: a new run.
    int64_t purge_step = -1;
    // Seconds since 1970 for every event; null means the system's clock.
    double (*clock)() = nullptr;
  };

  static Result<EventWriter> Open(const std::string& folder, Options options);
  static Result<EventWriter> Open(const std::string& folder) { return Open(folder, Options()); }
  EventWriter(EventWriter&& other) noexcept;
  EventWriter& operator=(EventWriter&&) = delete;
  ~EventWriter();

  const std::string& path() const { return path_; }
  Status Scalar(std::string_view tag, int64_t step, double value);
  Status AddHistogram(std::string_view tag, int64_t step, const Histogram& histogram);
  Status Flush();

 private:
  EventWriter(int fd, std::string path, double (*clock)());
  Status AddRecord(std::string_view event);
  Status AddSummary(int64_t step, std::string_view value);

  int fd_ = -1;
  std::string path_;
  double (*clock_)() = nullptr;
  std::string pending_;
};

// CRC-32C (Castagnoli), as TFRecord files use it.
uint32_t Crc32c(std::span<const std::byte> bytes);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_TENSORBOARD_H_
