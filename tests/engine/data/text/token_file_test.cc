#include "engine/data/text/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/io/mapped_file.h"
#include "engine/io/npy.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class T>
std::string BytesOf(const std::vector<T>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}
std::string Header(int32_t magic, int32_t version, int32_t count) {
  std::vector<int32_t> header(256);
  header[0] = magic, header[1] = version, header[2] = count;
  return BytesOf(header);
}
std::vector<int32_t> All(const TokenStream& stream) {
  std::vector<int32_t> tokens(static_cast<size_t>(stream.size()));
  stream.Copy(0, tokens);
  return tokens;
}

class TokenFile : public ::testing::Test {
 protected:
  std::string ErrorOf(const std::string& content, int64_t vocabulary = 50257,
                      TokenFileKind kind = TokenFileKind::kAuto) {
    Spill(path_, content);
    return OpenTokenFile(path_, vocabulary, kind).status().message();
  }
  std::vector<int32_t> Read(const std::string& content, int64_t vocabulary,
                            TokenFileKind kind = TokenFileKind::kAuto) {
    Spill(path_, content);
    const auto stream = OpenTokenFile(path_, vocabulary, kind);
    EXPECT_TRUE(stream.ok()) << stream.status().message();
    return stream.ok() ? All(**stream) : std::vector<int32_t>();
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_ / "tokens.bin";
};

TEST_F(TokenFile, ReadsTheHeadersOfBothWidths) {
  EXPECT_THAT(Read(Header(20240520, 1, 3) + BytesOf<uint16_t>({1, 50256, 2}), 50257),
              ElementsAre(1, 50256, 2));
  EXPECT_THAT(Read(Header(20240801, 7, 2) + BytesOf<uint32_t>({128000, 5}), 128256),
              ElementsAre(128000, 5));
  EXPECT_THAT(Read(BytesOf<uint16_t>({7, 65535}), 65536, TokenFileKind::kPlain),
              ElementsAre(7, 65535));
}

TEST_F(TokenFile, SizesThatContradictTheHeaderAreRefusedWithBoth) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("no tokens"));
  EXPECT_THAT(ErrorOf("abc"), HasSubstr("begins with neither 20240520 nor 20240801"));
  EXPECT_THAT(ErrorOf(Header(20240520, 1, 3).substr(0, 100)),
              AllOf(HasSubstr("has 100 bytes"), HasSubstr("1024")));
  EXPECT_THAT(ErrorOf(Header(20240520, 2, 0)), HasSubstr("of version 2, known is 1"));
  EXPECT_THAT(ErrorOf(Header(20240801, 1, 0)), HasSubstr("of version 1, known is 7"));
  EXPECT_THAT(ErrorOf(Header(20240520, 1, 3) + BytesOf<uint16_t>({1, 2})),
              AllOf(HasSubstr("says 3 tokens of 2 bytes"), HasSubstr("are 4 bytes")));
  EXPECT_THAT(ErrorOf(Header(20240520, 1, 1) + "abc"), HasSubstr("are 3 bytes"));
  EXPECT_THAT(ErrorOf(Header(20240520, 1, -1)), HasSubstr("says -1 tokens"));
  EXPECT_THAT(ErrorOf(Header(20240801, 7, 2147483647)), HasSubstr("2147483647"));
  EXPECT_THAT(ErrorOf(Header(20240520, 1, 0)), HasSubstr("no tokens"));
  EXPECT_THAT(ErrorOf("abc", 50257, TokenFileKind::kPlain), HasSubstr("has 3 bytes"));
  EXPECT_THAT(ErrorOf(Header(20240520, 1, 0), 70000, TokenFileKind::kPlain), HasSubstr("header"));
  EXPECT_THAT(OpenTokenFile(folder_ / "none", 5).status().message(), HasSubstr("none"));
  EXPECT_THAT(OpenTokenFile(folder_.path(), 5).status().message(), HasSubstr(folder_.path()));
}

// A vocabulary of another tokenizer, or numbers that wrapped around in 16 bits.
TEST_F(TokenFile, TokensBeyondTheVocabularyAreNamedWithTheirPlace) {
  EXPECT_THAT(ErrorOf(Header(20240520, 1, 3) + BytesOf<uint16_t>({1, 100, 2}), 100),
              AllOf(HasSubstr("token 1 is 100"), HasSubstr("0 to 99")));
  EXPECT_THAT(ErrorOf(Header(20240801, 7, 1) + BytesOf<uint32_t>({4294967295u}), 128256),
              HasSubstr("token 0 is 4294967295"));
  EXPECT_THAT(ErrorOf(Header(20240520, 1, 1) + BytesOf<uint16_t>({0}), 0),
              HasSubstr("a vocabulary of 0"));
}

TEST_F(TokenFile, ReadsArraysOfFourTypes) {
  const auto check = [&](StoredType type, const auto& numbers) {
    const std::string path = folder_ / "tokens.npy";
    const auto count = static_cast<int64_t>(numbers.size());
    ASSERT_TRUE(
        WriteNpy(path, StoredTensor("", type, Shape{count}, std::as_bytes(std::span(numbers))))
            .ok());
    const auto stream = OpenTokenFile(path, 300);
    ASSERT_TRUE(stream.ok()) << stream.status().message();
    EXPECT_THAT(All(**stream), ElementsAre(3, 299, 0));
    EXPECT_THAT(OpenTokenFile(path, 299).status().message(), HasSubstr("token 1 is 299"));
  };
  check(StoredType::kU16, std::vector<uint16_t>{3, 299, 0});
  check(StoredType::kU32, std::vector<uint32_t>{3, 299, 0});
  check(StoredType::kI32, std::vector<int32_t>{3, 299, 0});
  check(StoredType::kI64, std::vector<int64_t>{3, 299, 0});
  const std::string path = folder_ / "other.npy";
  const std::vector<float> floats(4);
  ASSERT_TRUE(WriteNpy(path, ConstTensor(floats.data(), Shape{4})).ok());
  EXPECT_THAT(OpenTokenFile(path, 9).status().message(), HasSubstr("holds F32"));
  const std::vector<int32_t> square(4);
  ASSERT_TRUE(WriteNpy(path, ConstTensor(square.data(), Shape{2, 2})).ok());
  EXPECT_THAT(OpenTokenFile(path, 9).status().message(), HasSubstr("shape (2, 2)"));
  const std::vector<int64_t> negative = {1, -2};
  ASSERT_TRUE(WriteNpy(path, ConstTensor(negative.data(), Shape{2})).ok());
  EXPECT_THAT(OpenTokenFile(path, 9).status().message(), HasSubstr("token 1 is -2"));
}

TEST_F(TokenFile, WhatIsWrittenReadsBack) {
  const std::vector<int32_t> tokens = {5, 0, 65535};
  for (const int64_t vocabulary : {int64_t{65536}, int64_t{65537}}) {
    for (const char* name : {"a.bin", "a.npy"}) {
      const std::string path = folder_ / name;
      ASSERT_TRUE(WriteTokenFile(path, tokens, vocabulary).ok());
      EXPECT_EQ(All(**OpenTokenFile(path, vocabulary)), tokens);
    }
    EXPECT_EQ(Slurp(folder_ / "a.bin").size(), 1024u + (vocabulary == 65536 ? 6 : 12));
  }
  EXPECT_THAT(WriteTokenFile(folder_ / "b.bin", tokens, 65535).message(),
              HasSubstr("token 65535 is not in 0 to 65534"));
}

// Beyond 4 GB, where 32-bit offsets wrap around. The file has holes: it takes no space.
TEST_F(TokenFile, OffsetsReachBeyondFourGigabytes) {
  const int64_t count = (int64_t{1} << 31) - 8;  // uint16: more than 2^32 bytes with the header
  std::string begin = Header(20240520, 1, static_cast<int32_t>(count));
  Spill(path_, begin);
  std::filesystem::resize_file(path_, static_cast<uintmax_t>(1024 + 2 * count));
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(1024 + 2 * (count - 1));
    file.write("\x2A\x00", 2);
  }
  // The check of every token would read 4 GB of zeros: the stream alone is asked for the end here.
  const auto bytes = MappedFile::Open(path_).value();
  EXPECT_EQ(static_cast<int64_t>(bytes->bytes().size()), 1024 + 2 * count);
  EXPECT_EQ(bytes->bytes().back(), std::byte{0});
  EXPECT_EQ(bytes->bytes()[bytes->bytes().size() - 2], std::byte{0x2A});
}

}  // namespace
}  // namespace lockstep
