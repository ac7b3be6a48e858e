// Weights to and from PyTorch: a safetensors file made there (tests/golden/make_state_dict.py) is
// read here, and one made here is what PyTorch loads strictly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/io/hash.h"
#include "engine/train/checkpointing.h"
#include "engine/train/network.h"
#include "engine/train/weight_files.h"
#include "layers/activation.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/norm/batch_norm.h"
#include "layers/norm/layer_norm.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

const Json& Golden() {
  static const Json golden = [] {
    std::ifstream in(LOCKSTEP_SOURCE_DIR "/tests/golden/state_dict.json");
    return Json::parse(in);
  }();
  return golden;
}

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

std::string ToHex(const std::string& bytes) {
  std::string hex;
  for (const char c : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", static_cast<unsigned char>(c));
    hex += digits;
  }
  return hex;
}

std::vector<float> Flat(const Json& rows) {
  std::vector<float> values;
  for (const Json& row : rows) {
    for (const Json& value : row) values.push_back(value.get<float>());
  }
  return values;
}

class StateDictTest : public ::testing::Test {
 protected:
  Network Bind(uint64_t seed, int64_t outputs = 3) {
    return Network::Bind(ctx_,
                         Sequential(Linear(8), BatchNorm(), Relu(), Linear(4), LayerNorm(), Gelu(),
                                    Linear(outputs)),
                         {.input = {6, 5}, .seed = seed})
        .value();
  }
  std::vector<float> Predict(Network& net, const std::vector<float>& x) {
    std::vector<float> y(static_cast<size_t>(net.output_shape().size()));
    EXPECT_TRUE(net.Predict({x.data(), {6, 5}}, {y.data(), net.output_shape()}).ok());
    return y;
  }
  std::string TheirFile() {
    Spill(folder_ / "theirs", FromHex(Golden()["file"].get<std::string>()));
    return folder_ / "theirs";
  }

  Context ctx_{{.threads = 1}};
  TemporaryFolder folder_;
};

TEST_F(StateDictTest, OfPyTorchPredictsTheSameHere) {
  Network net = Bind(1);
  const auto read = ImportWeights(TheirFile(), net);
  ASSERT_TRUE(read.ok()) << read.status().message();
  const std::vector<float> y = Predict(net, Flat(Golden()["x"])), want = Flat(Golden()["y"]);
  ASSERT_EQ(y.size(), want.size());
  float largest = 0.0f;
  for (const float v : want) largest = std::max(largest, std::abs(v));
  // As tests/layers/parity_test.cc: two fp32 engines that sum in different orders.
  for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], want[i], 1e-5 * largest) << i;
}

// What strict loading asks for: the same names, each with the same type and shape; and here the
// same bits as well.
TEST_F(StateDictTest, GoesThereAndBackWithoutAChange) {
  Network net = Bind(1);
  ASSERT_TRUE(ImportWeights(TheirFile(), net).ok());
  ASSERT_TRUE(ExportWeights(folder_ / "ours", net).ok());
  const SafetensorsFile ours = ReadSafetensors(folder_ / "ours").value();
  const SafetensorsFile theirs = ReadSafetensors(folder_ / "theirs").value();
  const auto tensors = [](const SafetensorsFile& file) {
    std::map<std::string, std::string> all;
    for (const StoredTensor& t : file.tensors)
      all[t.name] = t.Describe() + " " + HexOf(Hasher().Add(t.data).Finish());
    return all;
  };
  EXPECT_EQ(tensors(ours), tensors(theirs));
  EXPECT_EQ(ours.Find("1.num_batches_tracked")->type, StoredType::kI64);
  EXPECT_EQ(ours.metadata, theirs.metadata);

  Network again = Bind(2);
  ASSERT_TRUE(ImportWeights(folder_ / "ours", again).ok());
  EXPECT_EQ(ModelHash(again), ModelHash(net));
}

TEST_F(StateDictTest, OfAnotherNetworkIsRefusedAndChangesNothing) {
  Network net = Bind(1, 2);
  const uint64_t before = ModelHash(net);
  EXPECT_THAT(ImportWeights(TheirFile(), net).status().message(),
              HasSubstr("\"6.weight\" is F32 (3, 4) in the file, the model needs F32 (2, 4)"));
  EXPECT_EQ(ModelHash(net), before);
}

TEST_F(StateDictTest, WithATensorTooManyIsRefused) {
  Network net = Bind(1, 2);
  const uint64_t before = ModelHash(net);
  const float extra = 1.0f;
  std::vector<NamedConstTensor> tensors;
  for (const NamedTensor& named : ModelTensors(net)) tensors.emplace_back(named);
  tensors.emplace_back("7.weight", ConstTensor(&extra, Shape{1}));
  ASSERT_TRUE(WriteSafetensors(folder_ / "more", tensors, {}).ok());
  EXPECT_THAT(ImportWeights(folder_ / "more", net).status().message(),
              HasSubstr("the network has no \"7.weight\""));
  tensors.resize(3);
  ASSERT_TRUE(WriteSafetensors(folder_ / "less", tensors, {}).ok());
  EXPECT_THAT(ImportWeights(folder_ / "less", net).status().message(),
              HasSubstr("is not in the file"));
  EXPECT_EQ(ModelHash(net), before);
}

// LOCKSTEP_TORCH is a command that runs a Python with PyTorch.
TEST_F(StateDictTest, OfOursIsLoadedStrictlyByPyTorch) {
  const char* python = std::getenv("LOCKSTEP_TORCH");
  if (python == nullptr) GTEST_SKIP() << "LOCKSTEP_TORCH names no Python with PyTorch";
  Network net = Bind(7);
  const std::vector<float> x = Flat(Golden()["x"]), y = Predict(net, x);
  ASSERT_TRUE(ExportWeights(folder_ / "ours", net).ok());
  Json ours = {{"file", ToHex(Slurp(folder_ / "ours"))}};
  for (size_t row = 0; row < 6; ++row) {
    ours["x"].push_back(std::vector<float>(x.begin() + row * 5, x.begin() + row * 5 + 5));
    ours["y"].push_back(std::vector<float>(y.begin() + row * 3, y.begin() + row * 3 + 3));
  }
  Spill(folder_ / "ours.json", ours.dump());
  const std::string command = std::string(python) +
                              " -c \"$(cat '" LOCKSTEP_SOURCE_DIR
                              "/tests/golden/make_state_dict.py')\" --check < " +
                              (folder_ / "ours.json") + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer;
  std::string out;
  for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    out.append(buffer.data(), n);
  EXPECT_EQ(WEXITSTATUS(pclose(pipe)), 0) << out;
  EXPECT_THAT(out, HasSubstr("13 tensors loaded strictly"));
}

}  // namespace
}  // namespace lockstep
