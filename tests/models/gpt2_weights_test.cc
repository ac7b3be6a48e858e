// Files as Hugging Face writes them, made here of weights that tests/golden/make_gpt2.py makes too,
// and what PyTorch computes with them.
#include "models/gpt2_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <list>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

const Json& Golden() {
  static const Json golden = [] {
    std::ifstream in(LOCKSTEP_SOURCE_DIR "/tests/golden/gpt2.json");
    return Json::parse(in);
  }();
  return golden;
}

int64_t Golden(const char* key) { return Golden()[key].get<int64_t>(); }

// As make_gpt2.py's `weights`.
std::vector<float> Weights(const std::string& name, int64_t count) {
  uint32_t seed = 2166136261u;
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 16777619u;
  const bool scale = name.starts_with("ln_f.w") || name.find(".ln_1.w") != std::string::npos ||
                     name.find(".ln_2.w") != std::string::npos;
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t h = static_cast<uint32_t>(i) * 2654435761u + seed;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    values.push_back(scale ? static_cast<float>((h >> 25) + 64) / 128.0f
                           : static_cast<float>(static_cast<int>(h >> 24) - 128) / 1024.0f);
  }
  return values;
}

// Exact: the weights have 8 bits.
std::vector<std::byte> BytesOf(const std::vector<float>& values, StoredType type) {
  std::vector<std::byte> bytes(values.size() * SizeOf(type));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    const auto put = [&](const auto& v) {
      std::memcpy(bytes.data() + i * sizeof(v), &v, sizeof(v));
    };
    if (type == StoredType::kF32) {
      put(bits);
    } else if (type == StoredType::kBF16) {
      put(static_cast<uint16_t>(bits >> 16));
    } else {  // F16: the exponent has another middle, and there are fewer digits
      const uint32_t half = (bits & 0x7FFFFFFFu) == 0
                                ? 0
                                : (bits >> 16 & 0x8000u) | (((bits >> 23 & 0xFFu) - 112u) << 10) |
                                      (bits >> 13 & 0x3FFu);
      put(static_cast<uint16_t>(half));
    }
  }
  return bytes;
}

class Gpt2File {
 public:
  explicit Gpt2File(StoredType type = StoredType::kF32, std::string prefix = "transformer.")
      : type_(type), prefix_(std::move(prefix)) {
    const int64_t width = Golden("width");
    Add("wte.weight", {Golden("vocabulary"), width});
    Add("wpe.weight", {Golden("context"), width});
    for (int64_t i = 0; i < Golden("layers"); ++i) {
      const std::string h = "h." + std::to_string(i) + ".";
      for (const char* norm : {"ln_1", "ln_2"}) {
        Add(h + norm + ".weight", {width});
        Add(h + norm + ".bias", {width});
      }
      for (const auto& [name, in, out] :
           {std::tuple<const char*, int64_t, int64_t>{"attn.c_attn", width, 3 * width},
            {"attn.c_proj", width, width},
            {"mlp.c_fc", width, 4 * width},
            {"mlp.c_proj", 4 * width, width}}) {
        Add(h + name + ".weight", {in, out});
        Add(h + name + ".bias", {out});
      }
    }
    Add("ln_f.weight", {width});
    Add("ln_f.bias", {width});
  }

  void Add(const std::string& name, const Shape& shape) {
    AddAs(prefix_ + name, shape, Weights(name, shape.size()));
  }
  void AddAs(const std::string& name, const Shape& shape, const std::vector<float>& values) {
    const std::vector<std::byte>& bytes = memory_.emplace_back(BytesOf(values, type_));
    tensors_.emplace_back(name, type_, shape, bytes);
  }
  void Remove(const std::string& name) {
    std::erase_if(tensors_, [&](const StoredTensor& one) { return one.name == prefix_ + name; });
  }
  std::string Write(const TemporaryFolder& folder) const {
    const std::string path = folder.path() + "/model.safetensors";
    const Status status = WriteSafetensors(path, tensors_, {{"format", "pt"}});
    EXPECT_TRUE(status.ok()) << status.message();
    return path;
  }

 private:
  StoredType type_;
  std::string prefix_;
  std::list<std::vector<std::byte>> memory_;
  std::vector<StoredTensor> tensors_;
};

Result<Network> Bind(Context& ctx, const std::string& path, bool tied = true) {
  LOCKSTEP_TRY_ASSIGN(const SafetensorsHeader header, ReadSafetensorsHeader(path));
  EXPECT_TRUE(HasGpt2Names(header));
  LOCKSTEP_TRY_ASSIGN(GptOptions options, Gpt2Options(header));
  options.tie_head = tied;
  const auto tokens = static_cast<int64_t>(Golden()["tokens"].size());
  LOCKSTEP_TRY_ASSIGN(
      Network net,
      Network::Bind(ctx, Gpt(options), {.input = {1, tokens}, .input_dtype = DType::kI32}));
  LOCKSTEP_TRY(ImportGpt2Weights(path, net).status());
  return net;
}

// Sums of at most 512 terms of size 1/10 in two blocks round by about 1e-6 of scores of size 3.
void ExpectGoldenScores(Network& net) {
  const auto tokens = Golden()["tokens"].get<std::vector<int32_t>>();
  const auto rows = Golden()["scores"].get<std::vector<std::vector<double>>>();
  const auto count = static_cast<int64_t>(tokens.size());
  std::vector<float> y(rows.size() * rows[0].size());
  const Status status =
      net.Predict(ConstTensor(tokens.data(), DType::kI32, {1, count}),
                  Tensor(y.data(), {1, count, static_cast<int64_t>(rows[0].size())}));
  ASSERT_TRUE(status.ok()) << status.message();
  for (size_t i = 0; i < y.size(); ++i) {
    const double error =
        std::abs(static_cast<double>(y[i]) - rows[i / rows[0].size()][i % rows[0].size()]);
    ASSERT_TRUE(error <= 1e-5) << i << ": " << y[i];
  }
}

TEST(Gpt2WeightsTest, ScoresArePyTorchsForEveryTypeAndPrefix) {
  const TemporaryFolder folder;
  Context ctx({.threads = 2});
  for (const StoredType type : {StoredType::kF32, StoredType::kF16, StoredType::kBF16}) {
    for (const char* prefix : {"transformer.", ""}) {
      SCOPED_TRACE(testing::Message() << NameOf(type) << " '" << prefix << "'");
      Result<Network> net = Bind(ctx, Gpt2File(type, prefix).Write(folder));
      ASSERT_TRUE(net.ok()) << net.status().message();
      ExpectGoldenScores(*net);
    }
  }
}

TEST(Gpt2WeightsTest, ShapesSayWhatTheNetworkIs) {
  const TemporaryFolder folder;
  const SafetensorsHeader header = ReadSafetensorsHeader(Gpt2File().Write(folder)).value();
  const GptOptions options = Gpt2Options(header).value();
  EXPECT_EQ(options.vocabulary, Golden("vocabulary"));
  EXPECT_EQ(options.context, Golden("context"));
  EXPECT_EQ(options.layers, Golden("layers"));
  EXPECT_EQ(options.heads, Golden("heads"));
  EXPECT_EQ(options.width, Golden("width"));
  EXPECT_EQ(options.feed_forward, 4 * Golden("width"));
}

TEST(Gpt2WeightsTest, MasksAreLeftOutAndAHeadMayBeThereTwice) {
  const TemporaryFolder folder;
  Context ctx({.threads = 1});
  const int64_t width = Golden("width"), vocabulary = Golden("vocabulary");
  Gpt2File file;
  file.AddAs("transformer.h.0.attn.bias", {1, 1, 2, 2}, {1, 0, 1, 1});
  file.AddAs("transformer.h.1.attn.masked_bias", {}, {-1e4f});
  file.AddAs("lm_head.weight", {vocabulary, width}, Weights("wte.weight", vocabulary * width));
  for (const bool tied : {true, false}) {
    Result<Network> net = Bind(ctx, file.Write(folder), tied);
    ASSERT_TRUE(net.ok()) << net.status().message();
    ExpectGoldenScores(*net);
  }
  // A head of its own, of a file that has none: the embedding's.
  Result<Network> net = Bind(ctx, Gpt2File().Write(folder), /*tied=*/false);
  ASSERT_TRUE(net.ok()) << net.status().message();
  ExpectGoldenScores(*net);
}

TEST(Gpt2WeightsTest, AnotherHeadThanTheEmbeddingNeedsAHeadOfItsOwn) {
  const TemporaryFolder folder;
  Context ctx({.threads = 1});
  const int64_t width = Golden("width"), vocabulary = Golden("vocabulary");
  Gpt2File file;
  file.AddAs("lm_head.weight", {vocabulary, width}, Weights("another", vocabulary * width));
  const std::string path = file.Write(folder);
  EXPECT_THAT(Bind(ctx, path).status().message(),
              HasSubstr("\"lm_head.weight\" is not \"transformer.wte.weight\" again"));
  EXPECT_TRUE(Bind(ctx, path, /*tied=*/false).ok());
}

TEST(Gpt2WeightsTest, WhatIsMissingUnknownOrOfAnotherShapeIsNamedAndChangesNothing) {
  const TemporaryFolder folder;
  Context ctx({.threads = 1});
  Result<Network> net = Bind(ctx, Gpt2File().Write(folder));
  ASSERT_TRUE(net.ok());
  const auto complaint = [&](const Gpt2File& file) {
    return ImportGpt2Weights(file.Write(folder), *net).status().message();
  };
  Gpt2File missing, unknown, block, shape, flat;
  missing.Remove("h.1.mlp.c_fc.bias");
  EXPECT_THAT(complaint(missing), HasSubstr("\"h.1.linear1.bias\" F32 (512) is not in the file"));
  unknown.AddAs("transformer.h.0.attn.c_extra.weight", {1}, {1.0f});
  EXPECT_THAT(complaint(unknown), HasSubstr("c_extra.weight\" is none of GPT-2's"));
  block.AddAs("transformer.h.2.ln_1.bias", {1}, {1.0f});
  EXPECT_THAT(complaint(block), HasSubstr("h.2.norm1.bias"));
  shape.Remove("h.0.attn.c_proj.weight");
  shape.AddAs("transformer.h.0.attn.c_proj.weight", {2, 3}, std::vector<float>(6));
  EXPECT_THAT(complaint(shape), HasSubstr("(3, 2)"));
  flat.Remove("h.0.attn.c_proj.weight");
  flat.AddAs("transformer.h.0.attn.c_proj.weight", {6}, std::vector<float>(6));
  EXPECT_THAT(complaint(flat), HasSubstr("not a matrix"));
  ExpectGoldenScores(*net);
}

TEST(Gpt2WeightsTest, OtherFilesAreNotTakenForIt) {
  SafetensorsHeader header;
  EXPECT_FALSE(HasGpt2Names(header));
  header.entries.push_back({.name = "0.weight", .shape = {3, 4}});
  EXPECT_FALSE(HasGpt2Names(header));
  EXPECT_THAT(Gpt2Options(header).status().message(), HasSubstr("no weights of GPT-2"));
}

}  // namespace
}  // namespace lockstep
