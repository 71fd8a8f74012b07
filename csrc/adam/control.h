// Control block of steps on a device, read and written without their host: numbers in the device's
// memory, so that nobody waits for a loss and a recorded step (a CUDA graph) can be played again
// with other rates.
#pragma once

#include "host_device.h"

namespace xs {

// Places in the array of doubles.
enum StepControl : int32_t {
    kControlRate,   // in: share of the learning rates that this step takes
    kControlStep,   // in: number of the step from 1, of the dense rule's bias correction
    kControlMoves,  // whether this step moves anything: its loss and gradients are finite
    kControlScale,  // factor of gradients on their way through half floats, a power of two
    kControlUsed,   // the factor of this step, once it is decided
    kControlGood,   // steps since the factor last changed; -1: rows of the last step left the half
                    // floats, which the next step counts
    kControlSteps,  // steps that moved, since the array was made
    kControlLoss,   // sum of their mean losses
    kControlError,  // sum of their mean squared errors
    kControlBad,    // steps whose loss was no finite number: nothing moved
    kControlOverflows,  // steps whose gradients left the half floats: those of the shader, and
                        // nothing moved, or those of some rows, and these did not move
    kControlNumbers,
};

// As usual: halved by every overflow, doubled after so many steps without.
constexpr double kScaleSteps = 2000.0;
constexpr double kScaleLeast = 1.0 / 1048576.0;
constexpr double kScaleMost = 16777216.0;

XS_HD inline bool control_finite(double x) {
    return x - x == 0.0;
}

// Whether a step with these numbers moves; null: it does.
XS_HD inline bool control_moves(const double* control) {
    return control == nullptr || control[kControlMoves] != 0.0;
}

XS_HD inline float control_rate(const double* control) {
    return control == nullptr ? 1.0f : static_cast<float>(control[kControlRate]);
}

XS_HD inline float control_scale(const double* control) {
    return control == nullptr ? 1.0f : static_cast<float>(control[kControlScale]);
}

// Decides whether a step of this mean loss and squared error moves, counts it, and chooses the
// factor of the next. `overflow`: whether a gradient came out that is not a finite number.
// `scaled`: whether gradients went through half floats.
XS_HD inline void control_decide(double* control, double loss, double error, bool overflow,
                                 bool scaled) {
    const bool bad = !control_finite(loss) || !control_finite(error);
    const bool moves = !bad && !overflow;
    control[kControlMoves] = moves ? 1.0 : 0.0;
    control[kControlBad] += bad ? 1.0 : 0.0;
    control[kControlOverflows] += !bad && overflow ? 1.0 : 0.0;
    if (moves) {
        control[kControlSteps] += 1.0;
        control[kControlLoss] += loss;
        control[kControlError] += error;
    }
    double& scale = control[kControlScale];
    control[kControlUsed] = scale;
    if (!scaled || bad) {
        return;
    }
    double& good = control[kControlGood];
    if (good < 0.0) {
        control[kControlOverflows] += 1.0;
        good = 0.0;
    }
    good = overflow ? 0.0 : good + 1.0;
    if (overflow) {
        scale = scale > kScaleLeast ? 0.5 * scale : scale;
    } else if (good >= kScaleSteps) {
        scale = scale < kScaleMost ? 2.0 * scale : scale;
        good = 0.0;
    }
}

}  // namespace xs
