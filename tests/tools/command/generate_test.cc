// lockstep generate, on a small model of letters, and on weights of GPT-2's shape.
#include <gmock/gmock.h>

#include <vector>

#include "engine/io/safetensors.h"
#include "engine/io/text.h"
#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using testing::HasSubstr;

class GenerateProgram : public Program {
 protected:
  // A model that has seen "abcdé\n" over and over, 16 tokens at a time, and knows it by heart.
  void Train() {
    std::string text;
    for (int i = 0; i < 400; ++i) text += "abcd\xC3\xA9\n";
    Write("text.txt", text);
    const Ran ran = Run("train " + Recipe() + " output.folder=run");
    ASSERT_EQ(ran.code, 0) << ran.out;
  }
  std::string Recipe() {
    Write("text.toml",
          "[data]\nkind = \"text\"\npath = \"text.txt\"\ncontext = 16\n"
          "[model]\nkind = \"transformer\"\narchitecture = \"gpt\"\nlayers = 1\nheads = 2\n"
          "width = 32\n"
          "[optimizer]\nkind = \"adamw\"\nlearning_rate = 0.01\n"
          "[train]\nepochs = 6\nbatch = 8\nthreads = 1\n"
          "[output]\nreport = false\n");
    return "text.toml";
  }
};

TEST_F(GenerateProgram, GoesOnWithATextInWholeCharactersToTheSameBitsOnAnyThreads) {
  Train();
  const Ran greedy = Run("generate run --prompt abc --greedy --tokens 9");
  EXPECT_EQ(greedy.code, 0) << greedy.out;
  EXPECT_EQ(greedy.out, "d\xC3\xA9\nabcd\xC3\xA9\n");
  Write("prompt.txt", "abc");
  EXPECT_EQ(Run("generate run --prompt-file prompt.txt --temperature 0 --tokens 9").out,
            greedy.out);
  const std::string drawn =
      "generate run --prompt ab --temperature 3 --top-k 5 --top-p 0.95 "
      "--repetition-penalty 1.3 --tokens 12 --seed ";
  const std::string seven = Run(drawn + "7").out;
  EXPECT_TRUE(IsUtf8(seven)) << seven;
  EXPECT_EQ(Run(drawn + "7 train.threads=2").out, seven);
  EXPECT_NE(Run(drawn + "8").out, seven);
}

TEST_F(GenerateProgram, ReadsThePromptFromStandardInput) {
  Train();
  const std::string command = "cd " + folder_.string() +
                              " && printf abc | " LOCKSTEP_PROGRAM
                              " generate run --greedy --tokens 2 > out.txt 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(Read("out.txt"), "d\xC3\xA9\n");
}

TEST_F(GenerateProgram, GoesOnBeyondWhatTheModelSeesAtOnce) {
  Train();
  const Ran ran = Run("generate run --prompt abcd --greedy --tokens 200");
  EXPECT_EQ(ran.code, 0);
  const std::string few = Run("generate run --prompt abcd --greedy --tokens 13").out;
  EXPECT_TRUE(ran.out.starts_with(few.substr(0, few.size() - 1))) << ran.out;
  EXPECT_GE(ran.out.size(), 200u);
}

TEST_F(GenerateProgram, WhatCannotBeGoneOnWithIsOneClearLine) {
  Train();
  ExpectFails("generate run --prompt abX", "the prompt: character 2 (line 1) is");
  ExpectFails("generate run --prompt abcdabcdabcdabcda",
              "the prompt has 17 tokens, the model sees at most 16");
  ExpectFails("generate run", "the prompt is empty");
  ExpectFails("generate run --prompt a --temperature -1", "temperature");
  ExpectFails("generate run --prompt a --top-p 0", "top_p");
  ExpectFails("generate run --prompt a --prompt-file b", "excludes", 2);
  ExpectFails("generate run --prompt-file gone.txt", "gone.txt");
  ExpectFails("generate gone --prompt a", "gone");
  ASSERT_EQ(Run("train " + kClinical + " data.size=300 train.epochs=1 output.folder=table").code,
            0);
  ExpectFails("generate table --prompt a", "is no language model");
}

TEST_F(GenerateProgram, EvalSaysPerplexityAndBitsPerByte) {
  Train();
  const Ran ran = Run("eval run");
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("perplexity 1."));
  EXPECT_THAT(ran.out, HasSubstr("bits per byte 0."));
  EXPECT_THAT(ran.out, HasSubstr("exact "));
  const Ran monitored = Run("train " + Recipe() +
                            " train.epochs=1 train.monitor=bits_per_byte "
                            "output.folder=again");
  EXPECT_EQ(monitored.code, 0) << monitored.out;
  EXPECT_GT(Summary("again")["test"]["bits_per_byte"], 0.0);
  ExpectFails("train " + kClinical + " train.monitor=perplexity output.folder=no",
              "choose loss, accuracy or auc");
}

// One layer of width 64 with 256 tokens.
TEST_F(GenerateProgram, ImportTakesGpt2sWeightsWithoutARecipe) {
  std::vector<std::pair<std::string, Shape>> shapes = {{"wte.weight", {256, 64}},
                                                       {"wpe.weight", {12, 64}},
                                                       {"ln_f.weight", {64}},
                                                       {"ln_f.bias", {64}}};
  for (const auto& [name, shape] :
       std::vector<std::pair<std::string, Shape>>{{"ln_1.weight", {64}},
                                                  {"ln_1.bias", {64}},
                                                  {"ln_2.weight", {64}},
                                                  {"ln_2.bias", {64}},
                                                  {"attn.c_attn.weight", {64, 192}},
                                                  {"attn.c_attn.bias", {192}},
                                                  {"attn.c_proj.weight", {64, 64}},
                                                  {"attn.c_proj.bias", {64}},
                                                  {"mlp.c_fc.weight", {64, 256}},
                                                  {"mlp.c_fc.bias", {256}},
                                                  {"mlp.c_proj.weight", {256, 64}},
                                                  {"mlp.c_proj.bias", {64}}})
    shapes.emplace_back("h.0." + name, shape);
  std::vector<std::vector<float>> memory;
  std::vector<NamedConstTensor> tensors;
  for (const auto& [name, shape] : shapes)
    memory.emplace_back(static_cast<size_t>(shape.size()), name.ends_with("weight") ? 0.01f : 0.0f);
  for (size_t i = 0; i < shapes.size(); ++i)
    tensors.emplace_back(shapes[i].first, ConstTensor(memory[i].data(), shapes[i].second));
  fs::create_directories(folder_ / "gpt2");
  ASSERT_TRUE(WriteSafetensors((folder_ / "gpt2/model.safetensors").string(), tensors, {}).ok());

  const Ran ran = Run("import gpt2/model.safetensors m.safetensors");
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("GPT-2 of 1 layers of width 64, 1 heads"));
  EXPECT_THAT(ran.out, HasSubstr("no tokenizer"));
  ExpectFails("generate m.safetensors --prompt a", "has no tokenizer");

  // Its tokenizer beside it: the 256 bytes, and no merges.
  std::string vocabulary = "{";
  int token = 0;
  const auto add = [&](const std::string& character) {
    vocabulary += (token == 0 ? "" : ", ") + JsonString(character) + ": " + std::to_string(token);
    ++token;
  };
  int beyond = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    const int point = shown ? byte : 256 + beyond++;
    add(point < 128 ? std::string(1, static_cast<char>(point))
                    : std::string{static_cast<char>(0xC0 | point >> 6),
                                  static_cast<char>(0x80 | (point & 0x3F))});
  }
  Write("gpt2/vocab.json", vocabulary + "}");
  Write("gpt2/merges.txt", "#version: 0.2\n");
  const Ran with = Run("import gpt2/model.safetensors m.safetensors");
  EXPECT_THAT(with.out, HasSubstr("its tokenizer has 256 tokens")) << with.out;
  const Ran said = Run("generate m.safetensors --prompt hello --tokens 5");
  EXPECT_EQ(said.code, 0) << said.out;
  ExpectFails("import " + kClinical + " m.safetensors", "clinical.toml");
}

}  // namespace
}  // namespace lockstep::tools
