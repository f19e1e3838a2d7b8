"""Layer-wise pre-training: four layers of sigmoids hardly learn from random weights, and do from those of Boltzmann machines."""

import fastnn
from fastnn.layers import Dense, Flatten, Input

(x_train, y_train), (x_test, y_test) = fastnn.datasets.digits.load_data()
x_train, x_test = x_train / 16.0, x_test / 16.0


def network() -> fastnn.Sequential:
    fastnn.config.set_seed(0)
    hidden = [Dense(40, activation="sigmoid", name=f"hidden_{i}") for i in (1, 2, 3, 4)]
    model = fastnn.Sequential([Input((8, 8)), Flatten(), *hidden, Dense(10, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.5
    return model


for title, pretrained in (("random weights", False), ("pre-trained", True)):
    model = network()
    if pretrained:
        for name, errors in fastnn.pretrain(model, x_train, epochs=15, seed=1).items():
            print(f"{name}: reconstruction error {errors[0]:.4f} -> {errors[-1]:.4f}")
    model.fit(x_train, y_train, epochs=15, verbose=0)
    print(f"{title}: test accuracy {model.evaluate(x_test, y_test, verbose=0)[1]:.4f}")
