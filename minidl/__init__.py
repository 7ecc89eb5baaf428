"""minidl: deep learning from scratch, on one process or many.

>>> import minidl as dl
>>> from minidl import data, models, nn, optim, strategy
>>> train, test = data.digits()
>>> trainer = dl.Trainer(models.digits_cnn(), nn.CrossEntropy(), optim.SGD(lr=0.1))
>>> history = trainer.fit(train, epochs=5, batch_size=64, strategy=strategy.RingAllReduce(2))
"""

from minidl import errors
from minidl.train import History, Trainer

__version__ = "0.1.0"

__all__ = ["History", "Trainer", "__version__", "errors"]
