#include <gmock/gmock.h>

#include "tests/engine/data/data_files.h"
#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr char kTokenizer[] =
    R"({"added_tokens": [{"id": 5, "content": "<|endoftext|>", "special": true}],
        "pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "BPE",
        "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġab": 4}, "merges": ["a b", "Ġ ab"]}})";

TEST_F(Program, TokenizesAndBack) {
  Write("tokenizer.json", kTokenizer);
  Write("a.txt", "ab ab");
  EXPECT_EQ(Run("tokenize --tokenizer tokenizer.json a.txt").out, "2 4\n");
  EXPECT_EQ(Run("tokenize --tokenizer . a.txt --text ba --end-of-text").out, "1 0 5\n2 4 5\n");
  EXPECT_EQ(Run("tokenize --tokenizer . --text ''").out, "\n");
  EXPECT_EQ(Run("tokenize --tokenizer bytes --text ab").out, "97 98\n");
  EXPECT_EQ(Run("tokenize --tokenizer characters a.txt").out, "1 2 0 1 2\n");
  EXPECT_EQ(Run("tokenize --tokenizer . --decode --text '2, 4 5'").out, "ab ab<|endoftext|>");
  for (const std::string file : {"t.bin", "t.npy"}) {
    EXPECT_THAT(Run("tokenize --tokenizer . a.txt -o " + file).out,
                ::testing::HasSubstr("2 tokens of 6 are in " + file));
    EXPECT_EQ(Run("tokenize --tokenizer . --decode " + file).out, "ab ab");
    EXPECT_EQ(Run("tokenize --tokenizer . --decode " + file + " -o back.txt").code, 0);
    EXPECT_EQ(Read("back.txt"), "ab ab");
  }
}

TEST_F(Program, TokenizeFailsWithOneLine) {
  Write("tokenizer.json", kTokenizer);
  Write("empty.txt", "");
  ExpectFails("tokenize --tokenizer .", "needs files, or --text");
  ExpectFails("tokenize --text a", "--tokenizer is required", 2);
  ExpectFails("tokenize --tokenizer nowhere --text a", "nowhere: there is no such file");
  ExpectFails("tokenize --tokenizer . --text abc", "--text: byte 2 of the text is 99");
  ExpectFails("tokenize --tokenizer . empty.txt", "empty.txt: the file is empty");
  ExpectFails("tokenize --tokenizer . --text ab -o x.txt", "NAME.bin or NAME.npy");
  ExpectFails("tokenize --tokenizer . --decode --text '1 x'", "\"x\" is no token");
  ExpectFails("tokenize --tokenizer . --decode --text 6", "token 0 is 6");
  ExpectFails("tokenize --tokenizer . --decode tokenizer.json", "begins with neither");
  ExpectFails("tokenize --tokenizer characters --decode --text 1", "give the model");
  ExpectFails("tokenize --tokenizer bytes --text a --end-of-text", "has no token for it");
  ExpectFails("tokenize --tokenizer . --text a --plain", "--plain is for --decode");
}

TEST_F(Program, TokenizesWithGpt2sFiles) {
  LOCKSTEP_NEEDS_REAL_FILE("gpt2_bpe/vocab.json.gz");
  EXPECT_EQ(Run("tokenize --tokenizer " + RealFile("gpt2_bpe") + " --text 'Hello, world!'").out,
            "15496 11 995 0\n");
}

}  // namespace
}  // namespace lockstep::tools
