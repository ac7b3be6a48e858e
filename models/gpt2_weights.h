// GPT-2's weights as Hugging Face's transformers keep them ("model.safetensors" of
// openai-community/gpt2 and of all that was trained on from it), for a Gpt of models/gpt.h:
//
//   theirs                                     ours
//   wte.weight, wpe.weight, ln_f.*             the same
//   h.N.ln_1.*, h.N.ln_2.*                     h.N.norm1.*, h.N.norm2.*
//   h.N.attn.c_attn.weight (C, 3C), .bias      h.N.self_attn.in_proj_weight (3C, C), in_proj_bias
//   h.N.attn.c_proj.weight (C, C), .bias       h.N.self_attn.out_proj.*, turned
//   h.N.mlp.c_fc.weight (C, 4C), .bias         h.N.linear1.*, turned
//   h.N.mlp.c_proj.weight (4C, C), .bias       h.N.linear2.*, turned
//   h.N.attn.bias, h.N.attn.masked_bias        nothing: buffers that hold the causal mask
//   lm_head.weight                             nothing where the head is tied; may be absent
//
// with "transformer." in front of all, or not, and with "module.", "_orig_mod." or "model." before
// that. F64, F32, F16 and BF16.
#ifndef LOCKSTEP_MODELS_GPT2_WEIGHTS_H_
#define LOCKSTEP_MODELS_GPT2_WEIGHTS_H_

#include <string>

#include "engine/base/status.h"
#include "engine/io/safetensors.h"
#include "engine/train/network.h"
#include "engine/train/weight_files.h"
#include "models/gpt.h"

namespace lockstep::inline v0_1 {

// Whether tensors have GPT-2's names.
bool HasGpt2Names(const SafetensorsHeader& header);

// What its shapes say of the network. Heads are 64 wide, as in every size of GPT-2: shapes do not
// tell. An error names what does not fit together.
Result<GptOptions> Gpt2Options(const SafetensorsHeader& header);

// Exactly the weights of `network`, nothing missing and nothing more. An lm_head.weight must be
// wte.weight again where the head is tied; where it is not and the file has none, wte.weight is the
// head's. An error names the first tensor that differs, and then nothing is changed.
Result<ImportedWeights> ImportGpt2Weights(const std::string& path, Network& network);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_GPT2_WEIGHTS_H_
