#include "engine/io/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;

// --- A reader of its own: TFRecord frames, then protocol buffers by field number. ---

uint32_t SlowMaskedCrc(std::string_view bytes) {  // bit by bit, from the definition
  uint32_t crc = 0xFFFFFFFF;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
  }
  crc ^= 0xFFFFFFFF;
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8;
}

template <class T>
T Load(std::string_view bytes, size_t at) {
  T value{};
  EXPECT_LE(at + sizeof(T), bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

std::vector<std::string> Records(const std::string& file) {
  std::vector<std::string> records;
  for (size_t at = 0; at < file.size();) {
    const auto length = Load<uint64_t>(file, at);
    EXPECT_EQ(Load<uint32_t>(file, at + 8), SlowMaskedCrc(std::string_view(file).substr(at, 8)));
    if (length > file.size()) {
      ADD_FAILURE() << "record of " << length << " bytes";
      break;
    }
    records.push_back(file.substr(at + 12, length));
    EXPECT_EQ(Load<uint32_t>(file, at + 12 + length), SlowMaskedCrc(records.back()));
    at += 16 + length;
  }
  return records;
}

struct Field {
  uint64_t number = 0;  // of a varint
  std::string bytes;    // of everything else, as it stands
};

std::map<int, Field> Fields(std::string_view message) {
  std::map<int, Field> fields;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0; at < message.size(); shift += 7) {
      const auto byte = static_cast<uint8_t>(message[at++]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (at < message.size()) {
    const uint64_t key = varint();
    Field& field = fields[static_cast<int>(key >> 3)];
    size_t size = 0;
    switch (key & 7) {
      case 0:
        field.number = varint();
        continue;
      case 1:
        size = 8;
        break;
      case 2:
        size = varint();
        break;
      case 5:
        size = 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
        return fields;
    }
    field.bytes = message.substr(at, size);
    at += size;
  }
  return fields;
}

std::map<int, Field> ValueOf(const std::string& event) {
  return Fields(Fields(Fields(event).at(5).bytes).at(1).bytes);
}

std::vector<double> Doubles(const std::string& bytes) {
  std::vector<double> values(bytes.size() / 8);
  std::memcpy(values.data(), bytes.data(), values.size() * 8);
  return values;
}

std::vector<std::string> RecordsIn(const TemporaryFolder& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return Records(Slurp(paths.back()));
}

double FixedClock() { return 1.7e9 + 0.25; }

// --- The tests. ---

TEST(TensorBoardTest, Crc32cMatchesItsCheckValue) {
  EXPECT_EQ(Crc32c(std::as_bytes(std::span("123456789", 9))), 0xE3069283u);  // RFC 3720
  EXPECT_EQ(Crc32c({}), 0u);
}

TEST(TensorBoardTest, ScalarsReadBack) {
  const TemporaryFolder folder;
  {
    Result<EventWriter> writer = EventWriter::Open(folder.path(), {.clock = FixedClock});
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    ASSERT_TRUE(writer->Scalar("loss/train", 300, 0.1).ok());
    ASSERT_TRUE(writer->Scalar("loss/train", int64_t{1} << 40, NAN).ok());
    const EventWriter moved = std::move(*writer);  // flushes at its end
  }
  const std::vector<std::string> records = RecordsIn(folder);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(Fields(records[0]).at(3).bytes, "brain.Event:2");
  EXPECT_EQ(Doubles(Fields(records[1]).at(1).bytes)[0], FixedClock());
  EXPECT_EQ(Fields(records[1]).at(2).number, 300u);
  EXPECT_EQ(ValueOf(records[1]).at(1).bytes, "loss/train");
  EXPECT_EQ(Load<float>(ValueOf(records[1]).at(2).bytes, 0), 0.1f);
  EXPECT_EQ(Fields(records[2]).at(2).number, uint64_t{1} << 40);
  EXPECT_TRUE(std::isnan(Load<float>(ValueOf(records[2]).at(2).bytes, 0)));
}

TEST(TensorBoardTest, HistogramsReadBack) {
  const TemporaryFolder folder;
  const std::vector<float> values = {0, 1, 1, 2, 4, NAN, INFINITY};
  const Histogram histogram = MakeHistogram(values, 4);
  {
    Result<EventWriter> writer = EventWriter::Open(folder.path());
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->AddHistogram("0.weight", 5, histogram).ok());
    ASSERT_TRUE(writer->Flush().ok());
    EXPECT_EQ(RecordsIn(folder).size(), 2u);
  }
  const auto value = ValueOf(RecordsIn(folder)[1]);
  EXPECT_EQ(value.at(1).bytes, "0.weight");
  const auto histo = Fields(value.at(5).bytes);
  EXPECT_EQ(Doubles(histo.at(1).bytes)[0], 0.0);   // min
  EXPECT_EQ(Doubles(histo.at(2).bytes)[0], 4.0);   // max
  EXPECT_EQ(Doubles(histo.at(3).bytes)[0], 5.0);   // num
  EXPECT_EQ(Doubles(histo.at(4).bytes)[0], 8.0);   // sum
  EXPECT_EQ(Doubles(histo.at(5).bytes)[0], 22.0);  // sum of squares
  EXPECT_THAT(Doubles(histo.at(6).bytes), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Doubles(histo.at(7).bytes), ElementsAre(1, 2, 1, 1));
}

TEST(TensorBoardTest, HistogramsCountEveryFiniteValueOnce) {
  std::vector<float> values;
  for (int i = 0; i < 10'000; ++i) {
    values.push_back(std::sin(static_cast<float>(i)) * 3.0f - 1.0f);
  }
  const Histogram histogram = MakeHistogram(values);
  double total = 0.0;
  for (const double count : histogram.counts) total += count;
  EXPECT_EQ(total, 10'000.0);
  EXPECT_EQ(histogram.counts.size(), 64u);
  EXPECT_EQ(histogram.limits.size(), 64u);
  EXPECT_EQ(histogram.limits.back(), histogram.max);
  EXPECT_TRUE(std::is_sorted(histogram.limits.begin(), histogram.limits.end()));
  EXPECT_EQ(histogram.skipped, 0.0);
}

TEST(TensorBoardTest, HistogramsOfNothingOneValueAndTheExtremes) {
  for (const auto& values : {std::vector<float>{}, std::vector<float>{NAN, -INFINITY}}) {
    const Histogram nothing = MakeHistogram(values);
    EXPECT_EQ(nothing.count, 0.0);
    EXPECT_EQ(nothing.skipped, static_cast<double>(values.size()));
    EXPECT_THAT(nothing.counts, ElementsAre(0.0));
  }
  const Histogram constant = MakeHistogram(std::vector<float>{2.5f, 2.5f});
  EXPECT_THAT(constant.limits, ElementsAre(2.5));
  EXPECT_THAT(constant.counts, ElementsAre(2.0));
  constexpr float kMax = std::numeric_limits<float>::max();
  const Histogram extremes = MakeHistogram(std::vector<float>{-kMax, 0.0f, kMax}, 3);
  EXPECT_THAT(extremes.counts, ElementsAre(1.0, 1.0, 1.0));
  EXPECT_TRUE(std::isfinite(extremes.sum_squares));
}

TEST(TensorBoardTest, AResumedRunForgetsLaterSteps) {
  const TemporaryFolder folder;
  const Result<EventWriter> writer = EventWriter::Open(folder.path(), {.purge_step = 401});
  ASSERT_TRUE(writer.ok());
  const std::vector<std::string> records = RecordsIn(folder);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(Fields(records[0]).at(2).number, 401u);
  EXPECT_EQ(Fields(records[1]).at(2).number, 401u);
  EXPECT_EQ(Fields(Fields(records[1]).at(7).bytes).at(1).number, 1u);  // SessionLog START
}

TEST(TensorBoardTest, FilesOfOneFolderAreNamedInOrder) {
  const TemporaryFolder folder;
  std::vector<std::string> paths;
  for (int i = 0; i < 5; ++i) {
    const Result<EventWriter> writer = EventWriter::Open(folder.path(), {.clock = FixedClock});
    ASSERT_TRUE(writer.ok());
    paths.push_back(writer->path());
  }
  EXPECT_TRUE(std::is_sorted(paths.begin(), paths.end()));
  EXPECT_EQ(folder.files(), 5);
}

TEST(TensorBoardTest, ManyEventsReachTheFileWithoutFlush) {
  const TemporaryFolder folder;
  Result<EventWriter> writer = EventWriter::Open(folder.path());
  ASSERT_TRUE(writer.ok());
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(writer->Scalar("loss", i, 0.5).ok());
  EXPECT_GT(std::filesystem::file_size(writer->path()), 65'536u);
}

TEST(TensorBoardTest, AMissingFolderIsNamed) {
  const TemporaryFolder folder;
  const Status status = EventWriter::Open(folder / "none").status();
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.message(), ::testing::HasSubstr(folder / "none"));
}

}  // namespace
}  // namespace lockstep
