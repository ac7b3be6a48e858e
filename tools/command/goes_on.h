// How a language model goes on with a few texts while it learns: what Recorder asks for.
#ifndef LOCKSTEP_TOOLS_COMMAND_GOES_ON_H_
#define LOCKSTEP_TOOLS_COMMAND_GOES_ON_H_

#include <functional>
#include <vector>

#include "engine/base/status.h"
#include "engine/train/evaluate.h"
#include "engine/train/network.h"
#include "tools/report/text_log.h"

namespace lockstep::inline v0_1::tools {

// The texts are beginnings of some of `samples`, evenly spread: what comes before the first token
// that counts, or a quarter of the sample where all do. Each time the tokens are those that are
// held most likely, up to a line's length. Null where samples are no texts, or `network` is none
// that a text goes on with.
std::function<Result<std::vector<TextSample>>(Network& network)> GoesOn(Network& network,
                                                                        const Subset& samples);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_GOES_ON_H_
