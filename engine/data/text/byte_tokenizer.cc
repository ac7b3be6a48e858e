#include "engine/data/text/byte_tokenizer.h"

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {
namespace {

class ByteTokenizer final : public Tokenizer {
 public:
  ByteTokenizer() {
    for (int byte = 0; byte < kBytes; ++byte) bytes_ += static_cast<char>(byte);
  }

  std::string kind() const override { return "bytes"; }
  int64_t size() const override { return kBytes; }
  Status Encode(std::string_view text, std::vector<int32_t>& tokens) const override {
    tokens.reserve(tokens.size() + text.size());
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return Status::Ok();
  }
  std::string_view Bytes(int32_t token) const override {
    LOCKSTEP_CHECK(token >= 0 && token < kBytes, std::to_string(token));
    return std::string_view(bytes_).substr(static_cast<size_t>(token), 1);
  }
  std::string Description() const override { return R"({"kind": "bytes"})"; }

 private:
  static constexpr int kBytes = 256;
  std::string bytes_;
};

}  // namespace

std::shared_ptr<const Tokenizer> MakeByteTokenizer() { return std::make_shared<ByteTokenizer>(); }

}  // namespace lockstep
