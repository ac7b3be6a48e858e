#include "engine/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string WithLength(const std::string& header, const std::string& data = "") {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// Kilobytes: what hostile files must not blow up.
int64_t PeakMemory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(SafetensorsTest, GivesBackAllTypesRanksAndTexts) {
  const TemporaryFolder folder;
  std::string numbers(960, '\0');
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<char>(i * 37);
  std::vector<StoredTensor> tensors;
  for (int t = 0; t <= static_cast<int>(StoredType::kBool); ++t) {
    const auto type = static_cast<StoredType>(t);
    const auto add = [&](const std::string& name, Shape shape) {
      const size_t bytes = static_cast<size_t>(shape.size()) * SizeOf(type);
      tensors.emplace_back(std::string(NameOf(type)) + name, type, shape,
                           BytesOf(numbers).first(bytes));
    };
    add(".scalar", {});
    add(".vector", {3});
    add(".empty", {0});
    add(".empty matrix", {4, 0});
    add(".rank 5", {2, 3, 1, 5, 2});
    add(" \"\\\n\t\x01 caf\xc3\xa9", {7});
  }
  const Metadata metadata = {{"", "empty key"}, {"recipe", "a = \"b\"\n# \xe2\x82\xac\t\\"}};
  ASSERT_TRUE(WriteSafetensors(folder / "file", tensors, metadata).ok());

  const Result<SafetensorsFile> file = ReadSafetensors(folder / "file");
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->metadata, metadata);
  EXPECT_EQ(file->tensors.size(), tensors.size());
  for (const auto& want : tensors) {
    SCOPED_TRACE(want.name);
    const StoredTensor* got = file->Find(want.name);
    ASSERT_NE(got, nullptr);
    EXPECT_EQ(got->type, want.type);
    EXPECT_EQ(got->shape, want.shape);
    EXPECT_TRUE(std::ranges::equal(got->data, want.data));
    EXPECT_NE(got->data.data(), nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(got->data.data()) % 64, 0u);
    EXPECT_EQ(got->view().empty(), !DTypeOf(want.type).has_value());
  }
  EXPECT_EQ(file->Find("F32.scala"), nullptr);

  const Result<SafetensorsHeader> header = ReadSafetensorsHeader(folder / "file");
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->text, file->header);
  EXPECT_EQ(header->entries.size(), tensors.size());
}

TEST(SafetensorsTest, WritesTheSameBytesForTheSameContentAndAlignsEachType) {
  const TemporaryFolder folder;
  const uint8_t byte = 7;
  const float numbers[] = {1.0f, 2.0f};
  const double number = 3.0;
  const std::vector<NamedConstTensor> tensors = {{"b", ConstTensor(&byte, Shape{1})},
                                                 {"a", ConstTensor(numbers, Shape{1, 2})},
                                                 {"c", ConstTensor(&number, Shape{})}};
  ASSERT_TRUE(WriteSafetensors(folder / "1", tensors, {{"k", "v"}}).ok());
  ASSERT_TRUE(WriteSafetensors(folder / "2", tensors, {{"k", "v"}}).ok());
  const std::string content = Slurp(folder / "1");
  EXPECT_EQ(content, Slurp(folder / "2"));
  const std::string header =
      R"({"__metadata__":{"k":"v"},"c":{"dtype":"F64","shape":[],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},)"
      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[16,17]}})";
  EXPECT_EQ(content.substr(8, header.size()), header);
  uint64_t length;
  std::memcpy(&length, content.data(), 8);
  EXPECT_EQ((8 + length) % 64, 0u);
  EXPECT_EQ(content.size(), 8 + length + 17);
  EXPECT_EQ(content.back(), '\x07');
}

TEST(SafetensorsTest, AFileWithoutTensorsIsFine) {
  const TemporaryFolder folder;
  ASSERT_TRUE(WriteSafetensors(folder / "file", std::span<const StoredTensor>(), {}).ok());
  const Result<SafetensorsFile> file = ReadSafetensors(folder / "file");
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_TRUE(file->tensors.empty() && file->metadata.empty());
}

TEST(SafetensorsTest, ReadsWhatOtherProgramsWrite) {
  // Any order of tensors and fields, blanks anywhere, misaligned data, metadata last, escapes.
  const TemporaryFolder folder;
  Spill(folder / "file",
        WithLength(R"({ "w\u00e9" : {"data_offsets":[1,5], "shape": [ 1 ], "dtype":"F32"},)"
                   R"("e":{"dtype":"F32","shape":[0],"data_offsets":[1,1]},)"
                   R"("n":{"dtype":"I64","shape":[],"data_offsets":[5,13]},)"
                   R"("b":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]},)"
                   R"("__metadata__":{"format":"pt"}}   )",
                   std::string("\x01\x00\x00\x80\x3f\x05\x00\x00\x00\x00\x00\x00\x00", 13)));
  const Result<SafetensorsFile> file = ReadSafetensors(folder / "file");
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_EQ(file->tensors.size(), 4u);
  EXPECT_EQ(file->Find("w\xc3\xa9")->view().f32()[0], 1.0f);
  int32_t number = 0;
  ASSERT_TRUE(ConvertInto(*file->Find("n"), Tensor(&number, Shape{})).ok());
  EXPECT_EQ(number, 5);
  EXPECT_EQ(file->metadata.at("format"), "pt");
}

TEST(SafetensorsTest, RefusesToWriteWhatCannotBeReadBack) {
  const TemporaryFolder folder;
  const float x = 0.0f;
  const ConstTensor tensor(&x, Shape{});
  const auto write = [&](const std::vector<NamedConstTensor>& tensors, const Metadata& metadata) {
    const Status status = WriteSafetensors(folder / "file", tensors, metadata);
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(folder.files(), 0);
    return status.message();
  };
  EXPECT_THAT(write({{"same", tensor}, {"same", tensor}}, {}), HasSubstr("\"same\""));
  EXPECT_THAT(write({{"__metadata__", tensor}}, {}), HasSubstr("__metadata__"));
  EXPECT_THAT(write({{"a\xff", tensor}}, {}), HasSubstr("another name"));
  EXPECT_THAT(write({{"a", tensor}}, {{"key", "\xc3"}}), HasSubstr("\"key\""));
}

struct BadHeader {
  const char* text;
  int64_t data;
  const char* says;
};

TEST(SafetensorsTest, RefusesEveryContradictionWithItsReason) {
  const BadHeader cases[] = {
      {"", 0, "does not begin"},
      {" {}", 0, "does not begin"},
      {"[]", 0, "does not begin"},
      {"{", 0, "not valid JSON"},
      {"{}x", 0, "not valid JSON"},
      {"{}{}", 0, "not valid JSON"},
      {"{}", 1, "the tensors of the header need 0"},
      {"{\"a\":1}", 0, "a number where none belongs"},
      {"{\"a\":\"x\"}", 0, "a text where none belongs"},
      {"{\"a\":[]}", 0, "a list where none belongs"},
      {"{\"a\":null}", 0, "null"},
      {"{\"a\":true}", 0, "boolean"},
      {"{\"a\":{}}", 0, "lacks its"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 4, "lacks its"},
      {R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4, "unknown dtype \"F31\""},
      {R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", 4, "a number where"},
      {R"({"a":{"dtype":"F32","shape":"1","data_offsets":[0,4]}})", 4, "a text where"},
      {R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4, "a list where"},
      {R"({"a":{"dtype":"F32","shape":[{}],"data_offsets":[0,4]}})", 4, "an object where"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "-1"},
      {R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4, "a fraction"},
      {R"({"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,4]}})", 4, "JSON"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", 4,
       "too large"},
      {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1],"data_offsets":[0,4]}})", 4,
       "more than 5 dimensions"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0,
       "larger than any file"},
      {R"({"a":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}})", 0,
       "larger than any file"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", 8, "needs 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "needs 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "two data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[]}})", 4, "two data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", 4, "two data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 3, "cut short"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 5, "5 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "expected 0"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "twice"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4, "unknown field"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
       R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2, "\"a\" twice"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
       R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       3, "overlap"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
       R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
       3, "gaps"},
      {R"({"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]},)"
       R"("b":{"dtype":"U8","shape":[1],"data_offsets":[9223372036854775807,9223372036854775808]}})",
       3, "too large"},
      {R"({"__metadata__":{"a":1}})", 0, "metadata values are texts"},
      {R"({"__metadata__":{"a":{}}})", 0, "metadata values are texts"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", 0, "key \"a\" twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", 0, "twice"},
      {R"({"__metadata__":3})", 0, "a number"},
      {"{\"a\xff\":1}", 0, "JSON"},
      {"{\"__metadata__\":{\"a\":\"\xc3\"}}", 0, "JSON"},
  };
  for (const auto& [text, data, says] : cases) {
    SCOPED_TRACE(text);
    const Result<SafetensorsHeader> header = ParseSafetensorsHeader(text, data);
    ASSERT_FALSE(header.ok());
    EXPECT_EQ(header.status().code(), Code::kCorrupt);
    EXPECT_THAT(header.status().message(), HasSubstr(says));
    EXPECT_THAT(header.status().message(), Not(HasSubstr("\n")));
  }
}

TEST(SafetensorsTest, DeepNestingEndsAtOnce) {
  for (const std::string start : {R"({"a":)", R"({"__metadata__":)", R"({"a":{"shape":)"}) {
    for (const char open : {'[', '{'}) {
      std::string text = start;
      for (int i = 0; i < 1'000'000; ++i) text += open == '[' ? "[" : "{\"a\":";
      EXPECT_FALSE(ParseSafetensorsHeader(text, 0).ok());
    }
  }
}

TEST(SafetensorsTest, LengthsBeyondTheFileAreRefusedBeforeAnythingIsAllocated) {
  const TemporaryFolder folder;
  for (const uint64_t length : {uint64_t{3}, uint64_t{100'000'001}, uint64_t{1} << 40,
                                uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 7}) {
    Spill(folder / "file", std::string(reinterpret_cast<const char*>(&length), 8) + "{}");
    const Result<SafetensorsFile> file = ReadSafetensors(folder / "file");
    ASSERT_FALSE(file.ok());
    EXPECT_THAT(file.status().message(), HasSubstr("claims " + std::to_string(length)));
    EXPECT_THAT(file.status().message(), HasSubstr(folder / "file"));
  }
}

std::string SmallFile(const TemporaryFolder& folder) {
  const float numbers[] = {1.0f, -2.0f, 3.5f};
  const int32_t count = 9;
  const std::vector<NamedConstTensor> tensors = {{"0.weight", ConstTensor(numbers, Shape{1, 3})},
                                                 {"n", ConstTensor(&count, Shape{})}};
  EXPECT_TRUE(WriteSafetensors(folder / "good", tensors, {{"k", "v"}}).ok());
  return Slurp(folder / "good");
}

TEST(SafetensorsTest, EveryTruncationAndEveryExtensionIsAnError) {
  const TemporaryFolder folder;
  const std::string content = SmallFile(folder);
  Spill(folder / "file", content);
  for (size_t size = content.size(); size-- > 0;) {
    std::filesystem::resize_file(folder / "file", size);
    EXPECT_FALSE(ReadSafetensors(folder / "file").ok()) << size;
  }
  Spill(folder / "file", content + "x");
  EXPECT_FALSE(ReadSafetensors(folder / "file").ok());
}

// A changed header may still be a good one (another name); then all its promises must hold.
TEST(SafetensorsTest, DamagedHeadersNeverCrashOrGiveTensorsOutsideTheData) {
  const TemporaryFolder folder;
  const std::string content = SmallFile(folder);
  const int64_t peak = PeakMemory();
  uint64_t length;
  std::memcpy(&length, content.data(), 8);
  const auto data_bytes = static_cast<int64_t>(content.size() - 8 - length);
  const auto check = [&](std::string_view text) {
    const Result<SafetensorsHeader> header = ParseSafetensorsHeader(text, data_bytes);
    if (!header.ok()) {
      EXPECT_LT(header.status().message().size(), 500u);
      return;
    }
    int64_t end = 0;
    for (const auto& entry : header->entries) {
      EXPECT_EQ(entry.offset, end);
      EXPECT_EQ(entry.bytes, entry.shape.size() * static_cast<int64_t>(SizeOf(entry.type)));
      end += entry.bytes;
    }
    EXPECT_EQ(end, data_bytes);
  };
  const std::string good = content.substr(8, length);
  for (size_t i = 0; i < good.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string text = good;
      text[i] = static_cast<char>(value);
      check(text);
    }
    std::string shorter = good;
    shorter.erase(i, 1);
    check(shorter);
  }
  // Several changes at once, from a fixed seed.
  uint64_t state = 12345;
  const auto next = [&](size_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>(state >> 33) % below;
  };
  const std::string tokens = "{}[]\":,0123456789-.eE\\u tfn\xff";
  for (int round = 0; round < 20'000; ++round) {
    std::string text = good;
    for (size_t change = 0; change <= next(4); ++change) {
      text[next(text.size())] = tokens[next(tokens.size())];
    }
    check(text);
  }
  // The length in front: through the file.
  for (size_t i = 0; i < 8; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string file = content;
      file[i] = static_cast<char>(file[i] ^ (1 << bit));
      Spill(folder / "file", file);
      EXPECT_FALSE(ReadSafetensors(folder / "file").ok());
    }
  }
  EXPECT_LT(PeakMemory() - peak, 300'000);
}

TEST(SafetensorsTest, MissingFilesAndFoldersAreNamed) {
  const TemporaryFolder folder;
  EXPECT_EQ(ReadSafetensors(folder / "none").status().code(), Code::kNotFound);
  EXPECT_FALSE(ReadSafetensors(folder.path()).ok());
  EXPECT_FALSE(ReadSafetensorsHeader("/dev/zero").ok());
}

}  // namespace
}  // namespace lockstep
